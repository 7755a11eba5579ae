"""A linear layer of int8 by int8, through PyTorch's oneDNN operators where their sums are right.

oneDNN multiplies int8 by int8 with its reference kernel, thousands of times slower, on processors
without AMX; uint8 by int8 it multiplies fast on all. So signed values are given 128 steps higher,
with a zero point that takes them back. Without VNNI instructions, though, its sums of two products
saturate at 16 bits: there the integers are multiplied in float32, which holds them exactly up to
2^24.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

SHIFT = 128
"""From int8 to uint8: the highest bit flipped."""
Layer = Callable[[Tensor], Tensor]


def linear(
    weight: NDArray[np.int8],
    scales: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    *,
    source: float = 1.0,
    output: tuple[float, torch.dtype] = (1.0, torch.float32),
    after: str = "none",
) -> Layer:
    """From values stored in 8 bits [n, in], int8 or uint8, to [n, out].

    `weight` is int8 [out, in] with a scale for each output. `source` and `output` are the scales of
    what is read and written, with the type of the latter; `after` may be "relu". The weights are
    laid out anew: they are a copy.
    """
    shift = None if bias is None else torch.from_numpy(bias)
    ends = _Ends(torch.from_numpy(scales), shift, source, *output, after)
    make = _through_onednn if sums_are_right() else _through_floats
    return make(torch.from_numpy(weight), ends)


@functools.cache
def sums_are_right() -> bool:
    """Whether oneDNN's products of uint8 by int8 do not saturate on this processor."""
    weight = torch.full((16, 64), 127, dtype=torch.int8)
    layer = _through_onednn(weight, _Ends(torch.ones(len(weight))))
    largest = torch.full((1, weight.shape[1]), 127, dtype=torch.int8)
    return bool((layer(largest) == 127.0 * 127.0 * weight.shape[1]).all())


@dataclass(frozen=True)
class _Ends:
    """What a layer has beside its weights, which are laid out anew and not kept: see `linear`."""

    scales: Tensor
    bias: Tensor | None = None
    source: float = 1.0
    scale: float = 1.0
    kind: torch.dtype = torch.float32
    after: str = "none"


def _through_onednn(weight: Tensor, ends: _Ends) -> Layer:
    packed = torch.ops.onednn.qlinear_prepack(weight, None)
    zeros = torch.zeros(len(ends.scales), dtype=torch.int64)

    def run(stored: Tensor) -> Tensor:
        zero_point = 0
        if stored.dtype is torch.int8:
            stored, zero_point = stored.view(torch.uint8) ^ SHIFT, SHIFT
        found: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(stored, ends.source, zero_point, packed, ends.scales, zeros, ends.bias),
            *(ends.scale, 0, ends.kind, ends.after, [], ""),
        )
        return found

    return run


def _through_floats(weight: Tensor, ends: _Ends) -> Layer:
    whole, factors = weight.float(), ends.scales * ends.source

    def run(stored: Tensor) -> Tensor:
        found = F.linear(stored.float(), whole).mul_(factors)
        if ends.bias is not None:
            found += ends.bias
        if ends.after == "relu":
            found.relu_()
        if ends.kind is torch.float32:
            return found
        limits = torch.iinfo(ends.kind)
        return found.div_(ends.scale).round_().clamp_(limits.min, limits.max).to(ends.kind)

    return run
