"""A linear layer of int8 by int8 through PyTorch's oneDNN operators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
    """From values stored in 8 bits [n, in] to [n, out].

    `weight` is int8 [out, in] with a scale for each output. `source` and `output` are the scales of
    what is read and written, with the type of the latter; `after` may be "relu". PyTorch lays the
    weights out for itself: they are a copy.
    """
    packed = torch.ops.onednn.qlinear_prepack(torch.from_numpy(weight), None)
    factors = torch.from_numpy(scales)
    shift = None if bias is None else torch.from_numpy(bias)
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    scale, kind = output

    def run(stored: Tensor) -> Tensor:
        found: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(stored, source, 0, packed, factors, zeros, shift),
            *(scale, 0, kind, after, [], ""),
        )
        return found

    return run
