"""The `openvino` engine: each part compiled for one stream, on the instance's threads."""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import c_uint8
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino

from models import artifact
from netrun.engines import EngineError
from netrun.engines.openvino.graph import GRAPH, KIND, WEIGHTS, port
from netrun.engines.rows import Given, by_name, chunked, stacked, zeros

if TYPE_CHECKING:
    from models.task import Array, Part, Run
    from netrun.engines.engine import EngineSpec

PRECISION = {"fp32": "f32", "bf16": "bf16"}
"""What is asked of everything that is not int8; there OpenVINO chooses."""


class OpenVinoEngine:
    """Runs compiled models; an array is read where it is, and outputs are where they were made."""

    def __init__(self, spec: EngineSpec) -> None:
        self._core = openvino.Core()
        if spec.precision == "bf16" and "BF16" not in self._core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        ):
            raise EngineError("OpenVINO has no bf16 on this processor: choose --precision fp32")
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": spec.threads,
            # The instance is bound to its processors already.
            "ENABLE_CPU_PINNING": False,
        }
        if spec.precision in PRECISION:
            self._settings["INFERENCE_PRECISION_HINT"] = PRECISION[spec.precision]
        try:
            self._runs = {part.name: self._run(spec, part) for part in spec.task.parts}
        except artifact.ArtifactError as error:
            raise EngineError(f"{error}; start again, and it is built anew") from None
        except RuntimeError as error:
            raise EngineError(f"OpenVINO: {str(error).splitlines()[0]}") from None

    def part(self, name: str) -> Run:
        """What runs a part."""
        return self._runs[name]

    def describe(self) -> dict[str, Any]:
        """OpenVINO's version, and how it was asked to compile."""
        return {"openvino": openvino.__version__, "settings": dict(self._settings)}

    def _run(self, spec: EngineSpec, part: Part) -> Run:
        saved = artifact.read(spec.file(part), KIND)
        compiled = _Compiled(self._core, self._settings, saved, part)
        # A converter may have fixed the rows of a graph.
        call = compiled if compiled.rows is None else chunked(compiled, compiled.rows)

        def run(**inputs: Given) -> Mapping[str, Array]:
            return by_name(part, call(stacked(part, inputs)))

        if all(field.fixed for field in part.inputs):
            for rows in {1, spec.batch_size}:
                if compiled.rows is None:
                    # Kernels for just these shapes are faster than those for any.
                    compiled.prepare(rows)
                run(**zeros(part, rows))
        return run


class _Compiled:
    """A part for any shapes, and for some numbers of rows on their own."""

    def __init__(
        self,
        core: openvino.Core,
        settings: Mapping[str, Any],
        saved: artifact.Artifact,
        part: Part,
    ) -> None:
        self._core, self._settings, self._saved, self._part = core, settings, saved, part
        self._requests: dict[int, Any] = {}
        self._any: Any = None
        model = self._model()
        self._inputs = [port(model.inputs, field, at) for at, field in enumerate(part.inputs)]
        self._outputs = [port(model.outputs, field, at) for at, field in enumerate(part.outputs)]
        rows = model.inputs[0].get_partial_shape()[0]
        self.rows = rows.get_length() if rows.is_static else None

    def __call__(self, arrays: list[Array]) -> list[Array]:
        if self._any is None and len(arrays[0]) not in self._requests:
            self._any = self._request(self._model())
        request = self._requests.get(len(arrays[0]), self._any)
        for place, array in zip(self._inputs, arrays, strict=True):
            request.set_input_tensor(place, _shared(np.ascontiguousarray(array)))
        request.infer()
        return [request.get_output_tensor(place).data for place in self._outputs]

    def prepare(self, rows: int) -> None:
        """Compile for that many rows of a part with fixed shapes."""
        model = self._model()
        model.reshape(
            {
                place: [rows, *field.shape]
                for place, field in zip(self._inputs, self._part.inputs, strict=True)
            }
        )
        self._requests[rows] = self._request(model)

    def _model(self) -> Any:
        arrays = self._saved.arrays
        return self._core.read_model(arrays[GRAPH].tobytes(), _shared(arrays[WEIGHTS]))

    def _request(self, model: Any) -> Any:
        return self._core.compile_model(model, "CPU", dict(self._settings)).create_infer_request()


def _shared(array: Array) -> openvino.Tensor:
    """A tensor over the memory of `array`, which the caller keeps alive and nobody writes to.

    Of memory that cannot be written, the binding takes an array only if that does not show.
    """
    if not array.flags.writeable and array.nbytes:
        memory = (c_uint8 * array.nbytes).from_address(array.ctypes.data)
        array = np.frombuffer(memoryview(memory), array.dtype).reshape(array.shape)
    return openvino.Tensor(array, shared_memory=True)
