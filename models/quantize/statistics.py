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


class InputStatistics(Interpreter):  # type: ignore[misc]
    """Runs an exported graph and observes the inputs of its convolutions and linear layers."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph)
        self._means: dict[str, list[Tensor]] = {}
        self._sums: dict[str, _Sums] = {}
        self._random = torch.Generator().manual_seed(0)

    def means(self) -> dict[str, Tensor]:
        """Mean input per channel, by layer name."""
        return {name: torch.stack(means).mean(0) for name, means in self._means.items()}

    def take_covariance(self, name: str) -> Tensor | None:
        """Covariance of a layer's inputs, which is then forgotten; None for a grouped layer."""
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
                    self._sums[name] = _Sums(inputs.mean(0))
                self._sums[name].add(inputs)
        return super().run_node(n)

    def _inputs(self, node: Node, source: Tensor) -> Tensor | None:
        """Inputs of some outputs, (count, n), in the order of the flattened weight."""
        if calls(node, LINEARS):
            return source.reshape(-1, source.shape[-1])
        _, weight, _, stride, padding, _, groups = arguments(node, CONVOLUTION_DEFAULTS)
        if groups != 1:
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
        return windows.transpose(1, 2).reshape(-1, source.shape[1] * len(within))
