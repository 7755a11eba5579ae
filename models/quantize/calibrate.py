"""Post-training quantisation: a float network and calibration samples in, an int8 program out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.fx import GraphModule
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from models.program import Program
from models.quantize.correct import correct_bias, float_weights
from models.quantize.deploy import export_network
from models.quantize.equalise import equalise
from models.quantize.lower import lower, quantised_weight
from models.quantize.quantizer import CONVOLUTIONS, LINEARS, Int8Quantizer, calls, layer_name
from models.quantize.rounding import round_weights
from models.quantize.statistics import InputStatistics

if TYPE_CHECKING:
    from models.sample import SampleFormat
    from models.task import Field

BATCH = 8
EQUALISED_ON = 16
"""Batches that ranges of channels are taken from, to make them alike."""
LARGE = 512 * 512
"""Pixels above which samples are calibrated on one by one: their activations take gigabytes."""
Progress = Callable[[int, int], None]


def quantize(
    network: nn.Module,
    sample: SampleFormat,
    samples: NDArray[np.uint8],
    progress: Progress,
    outputs: Sequence[Field] = (),
) -> Program:
    """Calibrate `network` on `samples` (uint8, n x `sample.shape`, n >= 8) and lower it.

    `progress` is called with (samples seen, samples in all). `outputs` are those of the part: of a
    `Gated` one the program gives steps above its threshold. The flow is torchao's PT2E: export,
    insert observers, run the samples, convert; a last incomplete batch (of 8, or of large samples
    fewer) is not used. On the way the layers' inputs are observed: weights are rounded by their
    covariance, and biases are then corrected for what rounding does to mean outputs.
    """
    graph = export_network(network, sample, batch_of(sample))
    if outputs:
        equalise(graph, map(pixels, _batches(samples, batch_of(sample))[:EQUALISED_ON]))
    exact = float_weights(graph)
    converted, statistics = _convert(graph, samples, progress, grouped=bool(outputs))
    program = lower(converted, sample.shape, outputs)
    means = {name: mean.numpy() for name, mean in statistics.means().items()}
    return correct_bias(program, exact, means)


def reference_graph(
    network: nn.Module, sample: SampleFormat, samples: NDArray[np.uint8], progress: Progress
) -> Any:
    """The converted PT2E graph: float arithmetic on quantised values, the yardstick for engines.

    It takes float32 NCHW pixel tensors with a batch of 8, or fewer of large samples.
    """
    return _convert(export_network(network, sample, batch_of(sample)), samples, progress)[0]


def _convert(
    graph: GraphModule, samples: NDArray[np.uint8], progress: Progress, grouped: bool = False
) -> tuple[GraphModule, InputStatistics]:
    exact = float_weights(graph)
    prepared = prepare_pt2e(graph, Int8Quantizer())
    statistics = InputStatistics(prepared, grouped)
    with torch.no_grad():
        batches = _batches(samples, _batch_size(graph))
        for count, batch in enumerate(batches, start=1):
            statistics.run(pixels(batch))
            progress(count * len(batch), len(batches) * len(batch))
    converted = convert_pt2e(prepared)
    rounded: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for node in converted.graph.nodes:
        if calls(node, CONVOLUTIONS + LINEARS):
            name = layer_name(node)  # of several nodes, where they share their weights
            if name not in rounded:
                weight, covariance = exact[name], statistics.take_covariance(name)
                rounded[name] = round_weights(torch.from_numpy(weight), covariance)
            places = quantised_weight(converted, node)
            for place, value in zip(places, rounded[name], strict=True):
                place.copy_(value)
    return converted, statistics


def batch_of(sample: SampleFormat) -> int:
    """Samples that go through a network at once for calibration."""
    return BATCH if sample.height * sample.width <= LARGE else 1


def _batch_size(graph: GraphModule) -> int:
    placeholder = next(node for node in graph.graph.nodes if node.op == "placeholder")
    return int(placeholder.meta["val"].shape[0])


def _batches(samples: NDArray[np.uint8], size: int) -> list[NDArray[np.uint8]]:
    if len(samples) < BATCH:
        raise ValueError(f"{len(samples)} calibration samples; at least {BATCH} are needed")
    last = len(samples) - size
    return [samples[start : start + size] for start in range(0, last + 1, size)]


def pixels(samples: NDArray[np.uint8]) -> torch.Tensor:
    """Samples (uint8 NHWC) as float32 NCHW in channels-last memory order."""
    batch = torch.from_numpy(np.ascontiguousarray(samples)).permute(0, 3, 1, 2).float()
    return batch.contiguous(memory_format=torch.channels_last)
