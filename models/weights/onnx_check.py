"""Whether a network computes what the ONNX file computes that its weights are from."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from models.errors import WeightsError
from models.packages import installing_extra
from models.sample import SampleFormat
from models.weights.onnx_file import Graph
from models.weights.onnx_layers import head

IMAGES = 2
"""Samples of random pixels that both compute."""
TOLERANCE = 1e-3
"""Of the largest logit: orders of magnitude above float32's rounding, and below any mistake's."""


def compare(network: nn.Module, graph: Graph, sample: SampleFormat) -> None:
    """Compare the logits of random images with those of onnxruntime. Raises WeightsError."""
    import onnx

    try:
        import onnxruntime
    except ImportError:
        raise WeightsError(
            f"{graph.path}: checking ONNX needs onnxruntime: {installing_extra('onnx')}"
        ) from None
    logits = head(graph).name
    proto = onnx.ModelProto()
    proto.CopyFrom(graph.proto)
    del proto.graph.output[:]
    proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(logits))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, *sample.shape), np.uint8)
    images = sample.normalise(pixels)
    with torch.inference_mode():
        ours = network.eval()(torch.from_numpy(images)).numpy()
    given = images.transpose(0, 2, 3, 1) if graph.channels_last else images
    try:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        # One by one: converters may have fixed the batch size to 1.
        theirs = np.stack(
            [session.run([logits], {graph.input: given[i : i + 1]})[0] for i in range(IMAGES)]
        ).reshape(IMAGES, -1)
    except Exception as error:
        # onnxruntime raises a class of its own for every status, all of them plain Exceptions.
        first = str(error).splitlines()[0]
        raise WeightsError(f"{graph.path}: onnxruntime cannot run it ({first})") from None
    off = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    if not off <= TOLERANCE:
        raise WeightsError(
            f"{graph.path}: {type(network).__name__} with its weights does not compute what it "
            f"computes (logits differ by {off:.1%} of the largest): padding, pooling or "
            "activations are others"
        )
