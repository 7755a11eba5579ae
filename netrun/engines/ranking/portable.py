"""An int8 ranking network through PyTorch's oneDNN operators, for every shape and processor.

Rows of tables are gathered at once and stay int8 until they are multiplied with one another (v1),
or summed up by one product of matrices that holds the tables' scales (multi-hot, v2). Layers whose
weights are bfloat16 are multiplied in float32 where the processor has no tiles for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.ranking import SIGNED, UNSIGNED, Stored
from netrun.engines.pytorch.linear import Layer, linear

if TYPE_CHECKING:
    from models.ranking import Shape

PAIRS = 512
"""Pairs that go through all layers together: fewer read a layer's weights too often."""


class PortableRanking:
    """A network from its arrays (`models.quantize.ranking`) and its tables, mapped."""

    def __init__(
        self,
        shape: Shape,
        arrays: Mapping[str, NDArray[Any]],
        stored: Mapping[str, Stored],
        tables: NDArray[np.int8],
        scales: NDArray[np.float32],
        threads: int,
    ) -> None:
        """Take the layers over into PyTorch's layout."""
        torch.set_num_threads(threads)
        self._shape, self._arrays, self._stored, self._tables = shape, arrays, stored, tables
        self._firsts = np.repeat(shape.firsts, shape.hot)
        names = [name.removesuffix(".weight") for name in arrays if name.endswith(".weight")]
        bottom, cross, top = (
            [name for name in names if name.startswith(part)] for part in ("bot_l", "cross", "top")
        )
        self._first = stored.get(bottom[0])
        self._bottom = self._chain(bottom, stored.get("x"))
        *hidden, last = top
        self._top = self._chain(hidden, stored[last])
        self._last = torch.from_numpy(
            np.append(arrays[f"{last}.weight"][0] * stored[last].scale, arrays[f"{last}.bias"])
        )
        width = shape.width
        if shape.cross_rank:
            sums = np.zeros((len(shape.rows), shape.lookups), np.float32)
            table = np.repeat(np.arange(len(shape.rows)), shape.hot)
            sums[table, np.arange(shape.lookups)] = scales[table]
            self._sums = torch.from_numpy(sums)
            self._cross = [
                (
                    self._layer(narrow, None, relu=False),
                    stored[wide],
                    self._layer(wide, None, relu=False),
                )
                for narrow, wide in zip(cross[::2], cross[1::2], strict=True)
            ]
        else:
            rows, columns = np.tril_indices(shape.features, -1)
            each = np.append(np.float32(stored["x"].scale), scales)
            self._factors = torch.from_numpy(
                (each[rows] * each[columns] / stored["dots"].scale).astype(np.float32)
            )
            self._below = torch.from_numpy(rows * shape.features + columns)
        self._gathered = np.empty((0, width), np.int8)

    def run(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits float32 [n] of pairs."""
        parts = -(-len(dense) // PAIRS)
        ends = [len(dense) * part // parts for part in range(parts + 1)]
        logits = np.empty(len(dense), np.float32)
        for first, end in itertools.pairwise(ends):
            logits[first:end] = self._part(dense[first:end], sparse[first:end])
        return logits

    def _part(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            given = torch.from_numpy(dense)
            x = self._bottom(given if self._first is None else _stored(given, self._first))
            found = torch.from_numpy(self._gather(sparse))
            mixed = self._crossed(x, found) if self._shape.cross_rank else self._dots(x, found)
            hidden = self._top(mixed).float()
            logits: NDArray[np.float32] = (hidden @ self._last[:-1] + self._last[-1]).numpy()
        return logits

    def _gather(self, sparse: NDArray[np.int32]) -> NDArray[np.int8]:
        rows = (sparse + self._firsts).reshape(-1)
        if len(self._gathered) < len(rows):
            self._gathered = np.empty((len(rows), self._tables.shape[1]), np.int8)
        found = self._gathered[: len(rows)]
        # "clip" spares a buffer; indices were looked at.
        np.take(self._tables, rows, axis=0, out=found, mode="clip")
        return found.reshape(*sparse.shape, -1)

    def _dots(self, x: Tensor, found: Tensor) -> Tensor:
        # In bfloat16 a processor without it takes twenty times as long, and others no less.
        vectors = torch.cat([x[:, None], found], 1).float()
        products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        dots = products.index_select(1, self._below) * self._factors
        dots.round_().clamp_(-SIGNED, SIGNED)
        return torch.cat([x, dots.to(torch.int8)], 1)

    def _crossed(self, x: Tensor, found: Tensor) -> Tensor:
        sums = torch.matmul(self._sums, found.float())
        first = torch.cat([x, sums.flatten(1)], 1)
        value = first
        for narrow, kept, wide in self._cross:
            value = torch.addcmul(value, first, wide(_stored(narrow(value), kept)))
        return value

    def _chain(self, names: list[str], output: Stored | None) -> Layer:
        """Layers with a ReLU behind each, the last stored as given."""
        ends = [*(self._stored.get(name) for name in names[1:]), output]
        layers = [self._layer(name, end, relu=True) for name, end in zip(names, ends, strict=True)]

        def run(values: Tensor) -> Tensor:
            for layer in layers:
                values = layer(values)
            return values

        return run

    def _layer(self, name: str, output: Stored | None, relu: bool) -> Layer:
        bias = self._arrays.get(f"{name}.bias")
        if f"{name}.scales" not in self._arrays:
            return _low(self._arrays[f"{name}.weight"], bias, output, relu)
        written = 1.0, torch.float32
        if output is not None:
            written = output.scale, torch.int8 if output.signed else torch.uint8
        return linear(
            np.array(self._arrays[f"{name}.weight"]),
            np.array(self._arrays[f"{name}.scales"]),
            None if bias is None else np.array(bias),
            source=self._stored[name].scale,
            output=written,
            after="relu" if relu else "none",
        )


def _low(
    weight: NDArray[np.uint16], bias: NDArray[np.float32] | None, output: Stored | None, relu: bool
) -> Layer:
    """A layer of bfloat16 from floats to floats, or to what is stored in 8 bits."""
    low = torch.from_numpy(np.array(weight)).view(torch.bfloat16)
    if not torch.cpu._is_amx_tile_supported():  # float32 is quicker there, if AVX512-BF16 or not
        low = low.float()
    shift = torch.zeros(()) if bias is None else torch.from_numpy(np.array(bias))

    def run(values: Tensor) -> Tensor:
        found = torch.nn.functional.linear(values.to(low.dtype), low).float().add_(shift)
        if relu:
            found.relu_()
        return found if output is None else _stored(found, output)

    return run


def _stored(values: Tensor, how: Stored) -> Tensor:
    low, high = (-SIGNED, SIGNED) if how.signed else (0, UNSIGNED)
    scaled = torch.mul(values, 1 / how.scale).round_().clamp_(low, high)
    return scaled.to(torch.int8 if how.signed else torch.uint8)
