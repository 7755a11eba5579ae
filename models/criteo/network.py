"""DLRM (Naumov et al. 2019) and its successor with cross layers (DLRM_DCN of torchrec).

    dense [n, 13] -> bottom -> x [n, w] --+-> interaction -> top -> logit [n]
    sparse [n, lookups] -> tables -> [n, 26, w] -+

Names of parameters are the published ones; those of the tables are `emb_l.0.weight` and on, v2's
by the mapping of `models.criteo.weights`.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.criteo.shapes import DENSE
from models.ranking import Shape


def mlp(widths: tuple[int, ...], activate_last: bool) -> nn.Sequential:
    """Return linear layers with ReLUs between them; their numbers skip the ReLUs."""
    layers: list[nn.Module] = []
    for i, (narrow, wide) in enumerate(itertools.pairwise(widths)):
        layers.append(nn.Linear(narrow, wide))
        if activate_last or i < len(widths) - 2:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class Tables(nn.Module):
    """All embedding tables.

    Either `sources`, one [rows, width] each as a checkpoint has them, or `weight` [sum of rows,
    width] with the tables one below the other, of which one gather reads all rows of a batch.
    """

    first: Tensor
    table: Tensor
    weight: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        counts, hot = torch.tensor(shape.rows), torch.tensor(shape.hot)
        firsts = torch.cumsum(counts, 0) - counts
        self.hot, self.rows = shape.hot, list(shape.rows)
        self.sources: list[Tensor] = []
        self.register_buffer("first", firsts.repeat_interleave(hot), persistent=False)
        table = torch.arange(len(shape.rows)).repeat_interleave(hot)
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("weight", torch.empty(0), persistent=False)

    def arrays(self) -> list[npt.NDArray[Any]]:
        """Each table as an array [rows, width], mapped where it was."""
        tables = self.sources or self.weight.split(self.rows)
        return [(t.float() if t.dtype == torch.bfloat16 else t).detach().numpy() for t in tables]

    def forward(self, sparse: Tensor) -> Tensor:
        """Return the sums of rows, float [n, tables, width], of int32 [n, lookups]."""
        found = self._found(sparse)
        if max(self.hot) == 1:
            return found
        sums = found.new_zeros(sparse.shape[0], len(self.hot), found.shape[2])
        return sums.index_add_(1, self.table, found)

    def _found(self, sparse: Tensor) -> Tensor:
        if self.sources:
            columns = sparse.split(self.hot, dim=1)
            rows = [source[c.long()] for source, c in zip(self.sources, columns, strict=True)]
            return torch.cat(rows, 1).float()
        rows = (sparse + self.first).reshape(-1)
        return self.weight.index_select(0, rows).view(-1, sparse.shape[1], self.weight.shape[1])


class CrossLayers(nn.Module):
    """x_{l+1} = x_0 * (W_l (V_l x_l) + b_l) + x_l, of low rank (Wang et al. 2020)."""

    def __init__(self, width: int, rank: int, layers: int = 3) -> None:
        super().__init__()
        self.narrow = nn.ModuleList(nn.Linear(width, rank, bias=False) for _ in range(layers))
        self.wide = nn.ModuleList(nn.Linear(rank, width) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Return float [n, width] of the same."""
        first = x
        for narrow, wide in zip(self.narrow, self.wide, strict=True):
            x = first * wide(narrow(x)) + x
        return x


class DLRM(nn.Module):
    """The whole network; its tables have no rows before they are given some."""

    below: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.bot_l = mlp((DENSE, *shape.bottom), activate_last=True)
        self.tables = Tables(shape)
        self.cross = CrossLayers(shape.interaction, shape.cross_rank) if shape.cross_rank else None
        self.top_l = mlp((shape.interaction, *shape.top), activate_last=False)
        rows, columns = torch.tril_indices(shape.features, shape.features, -1)
        # Positions in the product of all with all, row by row below its diagonal.
        self.register_buffer("below", rows * shape.features + columns, persistent=False)

    def forward(self, dense: Tensor, sparse: Tensor) -> Tensor:
        """Return logits float [n] of float32 [n, 13] and int32 [n, lookups]."""
        x = self.bot_l(dense.to(self.bot_l[0].weight.dtype))
        vectors = torch.cat([x[:, None], self.tables(sparse).to(x.dtype)], 1)
        if self.cross is None:
            products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
            mixed = torch.cat([x, products.index_select(1, self.below)], 1)
        else:
            mixed = self.cross(vectors.flatten(1))
        logits: Tensor = self.top_l(mixed)[:, 0]
        return logits
