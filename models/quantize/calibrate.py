"""Post-training quantisation: a float network and calibration samples in, an int8 program out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.fx import GraphModule
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from models.program import Program
from models.quantize.correct import correct_bias, float_weights, mean_inputs
from models.quantize.deploy import export_network
from models.quantize.lower import lower
from models.quantize.quantizer import Int8Quantizer

if TYPE_CHECKING:
    from models.model import SampleFormat

BATCH = 8
MEAN_SAMPLES = 32  # calibration samples that mean inputs are taken from
Progress = Callable[[int, int], None]


def quantize(
    network: nn.Module, sample: SampleFormat, samples: NDArray[np.uint8], progress: Progress
) -> Program:
    """Calibrate `network` on `samples` (uint8, n x `sample.shape`, n >= 8) and lower it.

    `progress` is called with (samples seen, samples in all). The flow is torchao's PT2E: export,
    insert observers, run the samples, convert; a last incomplete batch of 8 is not used. Biases
    are then corrected for what rounding the weights does to mean outputs.
    """
    graph = export_network(network, sample, BATCH)
    exact = float_weights(graph)
    means = mean_inputs(graph, (pixels(batch) for batch in _batches(samples[:MEAN_SAMPLES])))
    program = lower(_convert(graph, samples, progress), sample.shape)
    return correct_bias(program, exact, means)


def reference_graph(
    network: nn.Module, sample: SampleFormat, samples: NDArray[np.uint8], progress: Progress
) -> Any:
    """The converted PT2E graph: float arithmetic on quantised values, the yardstick for engines.

    It takes float32 NCHW pixel tensors with a batch of 8.
    """
    return _convert(export_network(network, sample, BATCH), samples, progress)


def _convert(graph: GraphModule, samples: NDArray[np.uint8], progress: Progress) -> Any:
    prepared = prepare_pt2e(graph, Int8Quantizer())
    with torch.no_grad():
        for count, batch in enumerate(_batches(samples), start=1):
            prepared(pixels(batch))
            progress(count * BATCH, len(samples) // BATCH * BATCH)
    return convert_pt2e(prepared)


def _batches(samples: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    if len(samples) < BATCH:
        raise ValueError(f"{len(samples)} calibration samples; at least {BATCH} are needed")
    last = len(samples) - BATCH
    return [samples[start : start + BATCH] for start in range(0, last + 1, BATCH)]


def pixels(samples: NDArray[np.uint8]) -> torch.Tensor:
    """Samples (uint8 NHWC) as float32 NCHW in channels-last memory order."""
    batch = torch.from_numpy(np.ascontiguousarray(samples)).permute(0, 3, 1, 2).float()
    return batch.contiguous(memory_format=torch.channels_last)
