"""The `onnxruntime` engine: a session for each part, its weights in the mapped artifact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import onnxruntime

from models import artifact
from netrun.engines import EngineError
from netrun.engines.onnxruntime.graph import GRAPH, KIND, WEIGHT
from netrun.engines.rows import Given, by_name, chunked, stacked, zeros

if TYPE_CHECKING:
    from models.task import Array, Part, Run
    from netrun.engines.engine import EngineSpec

ERRORS = 3


class OnnxRuntimeEngine:
    """Runs exported graphs on threads of its own; an array is read where it is."""

    def __init__(self, spec: EngineSpec) -> None:
        self._kept: list[Any] = []
        try:
            self._runs = {part.name: self._run(spec, part) for part in spec.task.parts}
        except artifact.ArtifactError as error:
            raise EngineError(f"{error}; start again, and it is built anew") from None

    def part(self, name: str) -> Run:
        """What runs a part."""
        return self._runs[name]

    def describe(self) -> dict[str, Any]:
        """ONNX Runtime's version."""
        return {"onnxruntime": onnxruntime.__version__}

    def _run(self, spec: EngineSpec, part: Part) -> Run:
        saved = artifact.read(spec.file(part), KIND)
        session = self._session(saved, spec.threads, part)
        asked = [each.name for each in session.get_inputs()]
        given = [each.name for each in session.get_outputs()][: len(part.outputs)]
        rows = session.get_inputs()[0].shape[0]

        def call(arrays: list[Array]) -> list[Array]:
            found: list[Array] = session.run(given, dict(zip(asked, arrays, strict=True)))
            return found

        # A converter may have fixed the rows of a graph.
        calls = chunked(call, rows) if isinstance(rows, int) else call

        def run(**inputs: Given) -> Mapping[str, Array]:
            return by_name(part, calls(stacked(part, inputs)))

        if all(field.fixed for field in part.inputs):
            for count in {1, spec.batch_size}:
                run(**zeros(part, count))
        return run

    def _session(self, saved: artifact.Artifact, threads: int, part: Part) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS
        # Threads that went on spinning between batches would take processors from others.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        weights = {
            name.removeprefix(WEIGHT): onnxruntime.OrtValue.ortvalue_from_numpy(array)
            for name, array in saved.arrays.items()
            if name != GRAPH
        }
        self._kept.append((saved, weights))
        options.add_external_initializers([*weights], [*weights.values()])
        try:
            return onnxruntime.InferenceSession(
                saved.arrays[GRAPH].tobytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # A class of its own for every status, all of them plain Exceptions.
            first = str(error).splitlines()[0]
            raise EngineError(f"part {part.name}: ONNX Runtime cannot run it ({first})") from None
