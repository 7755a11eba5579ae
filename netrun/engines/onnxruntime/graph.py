"""Graphs for ONNX Runtime: exported, quantised, and kept with their weights as a mapped file's.

arrays     graph       the ONNX model without its larger weights, as bytes
           =<name>     each of these
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from base.errors import InputError
from models import artifact
from netrun.engines import EngineError
from netrun.engines.examples import examples, varying
from netrun.engines.order import Progress, Samples

if TYPE_CHECKING:
    import torch

    from models.task import Array, Part

KIND = "onnxruntime"
GRAPH = "graph"
WEIGHT = "="
OPSET = 17
LARGE = 1024
"""Bytes of a weight that is kept beside the graph. Of smaller ones some are shapes, which ONNX
Runtime wants to see."""
PRODUCTS = ("MatMul", "Gemm")
"""What is quantised of networks without convolutions: their other operations lose too much."""


def save(
    graph: torch.nn.Module | Path,
    part: Part,
    inputs: Samples,
    path: Path,
    facts: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Write `graph`, quantised by `inputs` where there are any, as an artifact.

    Raises EngineError for what cannot be exported, InputError for what cannot be calibrated on.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = graph if isinstance(graph, Path) else Path(folder) / "exported.onnx"
        if not isinstance(graph, Path):
            _export(graph, part, inputs, file)
        if inputs:
            quantised = Path(folder) / "quantised.onnx"
            seven_bits = bool(facts["seven_bits"])
            _quantise(file, quantised, part, inputs, seven_bits, progress, Path(folder))
            file = quantised
        model = onnx.load(file)
        arrays = dict(_taken_out(model))
        proto = np.frombuffer(model.SerializeToString(), np.uint8)
        artifact.write(path, KIND, facts, {GRAPH: proto, **arrays})


def _export(module: torch.nn.Module, part: Part, inputs: Samples, file: Path) -> None:
    import torch

    given = tuple(torch.from_numpy(array) for array in examples(part, inputs))
    fields = (*part.inputs, *part.outputs)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(),
                given,
                str(file),
                input_names=[field.name for field in part.inputs],
                output_names=[field.name for field in part.outputs],
                dynamic_axes={field.name: varying(field) for field in fields},
                opset_version=OPSET,
                dynamo=False,
            )
    except (RuntimeError, TypeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
        first = str(error).strip().splitlines()[0]
        raise EngineError(
            f"part {part.name} cannot be exported to ONNX: {first}; choose --engine pytorch"
        ) from None


def _quantise(
    file: Path,
    target: Path,
    part: Part,
    inputs: Samples,
    seven_bits: bool,
    progress: Progress,
    folder: Path,
) -> None:
    from onnxruntime import quantization

    prepared = folder / "prepared.onnx"
    model = onnx.load(file)
    convolutions = any(node.op_type == "Conv" for node in model.graph.node)
    names = [value.name for value in model.graph.input][: len(part.inputs)]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            quantization.shape_inference.quant_pre_process(
                str(file), str(prepared), skip_symbolic_shape=not convolutions
            )
            quantization.quantize_static(
                str(prepared),
                str(target),
                _reader(quantization.CalibrationDataReader, part, names, inputs, progress),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=None if convolutions else list(PRODUCTS),
                per_channel=True,
                reduce_range=seven_bits,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
    except (ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"part {part.name} cannot be calibrated: {first}; give other samples (--calibration)"
            " or choose --precision fp32"
        ) from None


def _reader(
    base: Any, part: Part, names: Sequence[str], inputs: Samples, progress: Progress
) -> Any:
    """The inputs one by one, as the quantiser asks for them."""

    def feeds() -> Iterator[dict[str, Array]]:
        for count, each in enumerate(inputs):
            progress(count, len(inputs))
            yield {
                name: each[field.name][None] for name, field in zip(names, part.inputs, strict=True)
            }
        progress(len(inputs), len(inputs))

    class Reader(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = feeds()

        def get_next(self) -> dict[str, Array] | None:
            return next(self._feeds, None)

    return Reader()


def _taken_out(model: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """The large weights of a model, which then only refers to them."""
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.nbytes < LARGE:
            continue
        yield f"{WEIGHT}{weight.name}", array
        for values in ("raw_data", "float_data", "int32_data", "int64_data", "double_data"):
            weight.ClearField(values)
        weight.data_location = onnx.TensorProto.EXTERNAL
        del weight.external_data[:]
        # The place is none: the session is given the values.
        for key, value in (("location", "mapped"), ("length", str(array.nbytes))):
            weight.external_data.add(key=key, value=value)
