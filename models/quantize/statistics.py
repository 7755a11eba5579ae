"""What a layer's inputs look like over the calibration samples: means and covariances.

Both are taken while the samples pass through the network for the ranges of activations anyway.
Means are over all positions. Covariances, of all inputs that one output position sees, are over a
few positions of each sample, drawn from a fixed seed: neighbouring positions say much the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from models.quantize.quantizer import (
    CONVOLUTION_DEFAULTS,
    CONVOLUTIONS,
    LINEARS,
    arguments,
    calls,
    layer_name,
    pair,
)

POSITIONS = 40  # output positions of a sample that enter a covariance


@dataclass
class _Sums:
    """Running sums of how n inputs differ from `origin`, a value near their mean.

    Sums of the inputs themselves would lose a small variance around a large mean to rounding.
    """

    origin: Tensor
    count: int = 0
    total: Tensor = field(init=False)
    products: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.total = torch.zeros(len(self.origin))
        self.products = torch.zeros(len(self.origin), len(self.origin))

    def add(self, inputs: Tensor) -> None:
        """Add `inputs`, float32 (count, n)."""
        apart = inputs - self.origin
        self.count += len(apart)
        self.total += apart.sum(0)
        self.products.addmm_(apart.T, apart)

    def covariance(self) -> Tensor:
        """(n, n)."""
        mean = self.total / self.count
        return self.products / self.count - torch.outer(mean, mean)


@dataclass
class _GroupSums:
    """The same for the inputs of each group of a grouped layer: `origin` is (groups, n)."""

    origin: Tensor
    count: int = 0
    total: Tensor = field(init=False)
    products: Tensor = field(init=False)

    def __post_init__(self) -> None:
        groups, size = self.origin.shape
        self.total = torch.zeros(groups, size)
        self.products = torch.zeros(groups, size, size)

    def add(self, inputs: Tensor) -> None:
        """Add `inputs`, float32 (groups, count, n)."""
        apart = inputs - self.origin[:, None]
        self.count += apart.shape[1]
        self.total += apart.sum(1)
        self.products.baddbmm_(apart.transpose(1, 2), apart)

    def covariance(self) -> Tensor:
        """(groups, n, n)."""
        mean = self.total / self.count
        return self.products / self.count - mean[:, :, None] * mean[:, None]


class InputStatistics(Interpreter):  # type: ignore[misc]
    """Runs an exported graph and observes the inputs of its convolutions and linear layers.

    Covariances of grouped layers are taken only where `grouped` asks for them.
    """

    def __init__(self, graph: GraphModule, grouped: bool = False) -> None:
        super().__init__(graph)
        self._grouped = grouped
        self._means: dict[str, list[Tensor]] = {}
        self._sums: dict[str, _Sums | _GroupSums] = {}
        self._random = torch.Generator().manual_seed(0)

    def means(self) -> dict[str, Tensor]:
        """Mean input per channel, by layer name."""
        return {name: torch.stack(means).mean(0) for name, means in self._means.items()}

    def take_covariance(self, name: str) -> Tensor | None:
        """Covariance of a layer's inputs, which is then forgotten: (n, n), or (groups, n, n).

        None for a grouped layer of which none was taken.
        """
        sums = self._sums.pop(name, None)
        return None if sums is None else sums.covariance()

    def run_node(self, n: Node) -> Any:
        """Run one node of the graph."""
        if calls(n, CONVOLUTIONS + LINEARS):
            source = self.env[n.args[0]]
            others = [d for d in range(source.dim()) if d != 1]
            self._means.setdefault(layer_name(n), []).append(source.mean(others))
            inputs = self._inputs(n, source)
            if inputs is not None:
                name = layer_name(n)
                if name not in self._sums:
                    kind = _Sums if inputs.dim() == 2 else _GroupSums
                    self._sums[name] = kind(inputs.mean(-2))
                self._sums[name].add(inputs)
        return super().run_node(n)

    def _inputs(self, node: Node, source: Tensor) -> Tensor | None:
        """Inputs of some outputs, (count, n), in the order of the flattened weight.

        Of a grouped layer those of each group, (groups, count, n).
        """
        if calls(node, LINEARS):
            return source.reshape(-1, source.shape[-1])
        _, weight, _, stride, padding, _, groups = arguments(node, CONVOLUTION_DEFAULTS)
        if groups != 1 and not self._grouped:
            return None
        kernel = self.env[weight].shape[2:]
        (down, right), (vertical, horizontal) = pair(stride), pair(padding)
        padded = F.pad(source, (horizontal, horizontal, vertical, vertical))
        rows = (padded.shape[2] - kernel[0]) // down + 1
        columns = (padded.shape[3] - kernel[1]) // right + 1
        chosen = torch.randperm(rows * columns, generator=self._random)[:POSITIONS, None]
        within = torch.arange(kernel[0] * kernel[1])
        y = chosen // columns * down + within // kernel[1]
        x = chosen % columns * right + within % kernel[1]
        windows = padded[:, :, y, x]  # samples, channels, positions, kernel positions
        if groups != 1:
            each = windows.unflatten(1, (groups, -1)).permute(1, 0, 3, 2, 4)
            return each.reshape(groups, -1, source.shape[1] // groups * len(within))
        return windows.transpose(1, 2).reshape(-1, source.shape[1] * len(within))
