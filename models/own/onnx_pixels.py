"""An ONNX classifier that takes normalised images, made to take the arena's samples."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import WeightsError
from models.imagenet.classifier import LOGITS
from models.imagenet.pictures import PIXELS
from models.packages import installing_extra
from models.sample import SampleFormat
from models.weights.onnx_file import Array, Graph, read_graph

CLASSES = (1000, 1001)
ROWS = 2
EXPORT = "export it with a dynamic batch"
_kept: list[tempfile.TemporaryDirectory[str]] = []
"""Written files stay until the process ends: engines read them when they like."""


@lru_cache(maxsize=1)
def over_pixels(file: Path, sample: SampleFormat) -> Path:
    """Write the network of `file` over samples uint8 [n, *sample.shape]; returns the new file.

    Border and normalisation go before it as `SampleFormat.normalise` has them, float32 [n, 3,
    height, width], or channels last where the file takes that. Its one output is `logits` [n, 1000
    or 1001]. Raises WeightsError for a file that cannot be used so.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = read_graph(file)
    proto = onnx.ModelProto()
    proto.CopyFrom(graph.proto)
    read_graph.forget()
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < 11:
        raise WeightsError(f"{file}: has opset {opset}: export it with 11 or a later one")
    _check_input(file, graph, proto, sample)
    _free_rows(proto, graph)
    before, constants = _normalising(graph, sample)
    output = _output(file, proto)
    flat = helper.make_node("Flatten", [output], [LOGITS], axis=1)
    nodes = [*before, *proto.graph.node, flat]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(constants)
    weights = {tensor.name for tensor in proto.graph.initializer}
    others = [i for i in proto.graph.input if i.name in weights and i.name != graph.input]
    del proto.graph.input[:]
    proto.graph.input.append(
        helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["rows", *sample.shape])
    )
    if proto.ir_version < 4:  # there, weights are inputs, too
        proto.graph.input.extend(others)
    del proto.graph.output[:]
    proto.graph.output.append(
        helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["rows", "classes"])
    )
    # What was noted of values between may hold for other rows only.
    del proto.graph.value_info[:]
    _run(file, proto, sample)
    folder = tempfile.TemporaryDirectory(prefix="loadrun-")
    _kept.append(folder)
    written = Path(folder.name) / "network.onnx"
    onnx.save(proto, str(written))
    return written


def _check_input(file: Path, graph: Graph, proto: Any, sample: SampleFormat) -> None:
    from onnx import TensorProto

    tensor = next(i for i in proto.graph.input if i.name == graph.input).type.tensor_type
    shape = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    wanted = [3, sample.height, sample.width]
    if graph.channels_last:
        wanted = [*wanted[1:], 3]
    fits = len(shape) == 4 and all(s in (None, w) for s, w in zip(shape[1:], wanted, strict=True))
    if tensor.elem_type != TensorProto.FLOAT or not fits:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        shown = ["n" if size is None else size for size in shape]
        raise WeightsError(
            f"{file}: takes {kind} {shown}, not float [n, {', '.join(map(str, wanted))}]"
        )


def _free_rows(proto: Any, graph: Graph) -> None:
    """Have reshapes to the one row of a file that was exported for one take any number."""
    from onnx import numpy_helper

    first = next(i for i in proto.graph.input if i.name == graph.input)
    rows = first.type.tensor_type.shape.dim[0].dim_value
    if not rows:
        return
    for node in proto.graph.node:
        if node.op_type != "Reshape":
            continue
        shape = graph.constant(node.input[1])
        if shape is not None and len(shape) > 1 and shape[0] == rows:
            name = f"{node.output[0]}_any_rows"
            free = np.array([0 if -1 in shape[1:] else -1, *shape[1:]], np.int64)
            proto.graph.initializer.append(numpy_helper.from_array(free, name))
            node.input[1] = name


def _normalising(graph: Graph, sample: SampleFormat) -> tuple[list[Any], list[Any]]:
    """Nodes from the samples to the network's input, and their constants."""
    from onnx import TensorProto, helper, numpy_helper

    top, _, left, _ = sample.pad
    mean, std = (np.divide(each, 255).astype("f4") for each in (sample.mean, sample.std))
    values: dict[str, Array] = {
        "first": np.array([top, left], np.int64),
        "last": np.array([top + sample.height, left + sample.width], np.int64),
        "axes": np.array([1, 2], np.int64),
        "levels": np.array([255], np.float32),
        "mean": mean,
        "std": std,
    }
    given = {name: f"loadrun_{name}" for name in values}
    steps: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Slice", [given["first"], given["last"], given["axes"]], {}),
        ("Cast", [], {"to": TensorProto.FLOAT}),
        ("Div", [given["levels"]], {}),
        ("Sub", [given["mean"]], {}),
        ("Div", [given["std"]], {}),
    ]
    if not graph.channels_last:
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    nodes, value = [], PIXELS
    for number, (kind, others, attributes) in enumerate(steps):
        made = graph.input if number == len(steps) - 1 else f"loadrun_{number}"
        nodes.append(helper.make_node(kind, [value, *others], [made], **attributes))
        value = made
    return nodes, [numpy_helper.from_array(values[name], given[name]) for name in values]


def _output(file: Path, proto: Any) -> str:
    """The output that is a number for each class: logits, or what grows with them."""
    import onnx
    from onnx import TensorProto

    inferred = onnx.shape_inference.infer_shapes(proto)
    found = []
    for value in inferred.graph.output:
        tensor = value.type.tensor_type
        sizes = [d.dim_value for d in tensor.shape.dim]
        if tensor.elem_type == TensorProto.FLOAT and any(c in sizes[1:] for c in CLASSES):
            return str(value.name)
        if tensor.elem_type == TensorProto.FLOAT:
            found.append(str(value.name))
    if len(found) == 1:
        return found[0]  # its shape is not known before it runs
    raise WeightsError(f"{file}: no output holds a number for each of 1000 or 1001 classes")


def _run(file: Path, proto: Any, sample: SampleFormat) -> None:
    """See that it runs on any rows, and gives so many classes."""
    try:
        import onnxruntime
    except ImportError:
        raise WeightsError(
            f"{file}: reading ONNX needs onnx and onnxruntime: {installing_extra('onnx')}"
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, *sample.shape), np.uint8)
    try:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        (one,) = session.run([LOGITS], {PIXELS: pixels[:1]})
    except Exception as error:
        # A class of its own for every status, all of them plain Exceptions.
        first = str(error).splitlines()[0]
        raise WeightsError(f"{file}: ONNX Runtime cannot run it ({first})") from None
    if one.ndim != 2 or one.shape[1] not in CLASSES:
        raise WeightsError(f"{file}: its output is {list(one.shape)}, not [n, 1000 or 1001]")
    try:
        (both,) = session.run([LOGITS], {PIXELS: pixels})
    except Exception:
        raise WeightsError(f"{file}: runs on one image at a time only: {EXPORT}") from None
    if both.shape != (ROWS, one.shape[1]) or not np.allclose(both[:1], one, rtol=1e-3, atol=1e-3):
        raise WeightsError(f"{file}: an image's result depends on the others: {EXPORT}")
