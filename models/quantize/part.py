"""Post-training quantisation of a part of a task: its module and inputs in, a program out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.pixels import OverPixels
from models.quantize.calibrate import Progress, quantize
from models.quantize.deploy import UnsupportedNetworkError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from models.program import Program
    from models.task import Part


def quantise_part(
    module: nn.Module,
    part: Part,
    inputs: Sequence[Mapping[str, NDArray[Any]]],
    progress: Progress,
) -> Program:
    """The int8 program of a part; `inputs` are what it is given for the calibration samples.

    Raises UnsupportedNetworkError for what no program can express, ValueError for inputs that
    cannot be calibrated on.
    """
    if not isinstance(module, OverPixels):
        raise UnsupportedNetworkError(f"part {part.name} is no network over pixels")
    (pixels,) = part.inputs
    if not inputs:
        raise ValueError("there are no calibration samples")
    samples = np.stack([each[pixels.name] for each in inputs])
    outputs = part.outputs if len(part.outputs) > 1 else ()
    return quantize(module.network, module.sample, samples, progress, outputs)
