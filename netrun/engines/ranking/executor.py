"""Runs an int8 ranking network of v1 with kernels for AMX: some hundred pairs at a time.

::

    dense ─▶ bottom layers ─▶ x ─┐
    numbers of rows ─────────────┴▶ interaction ─▶ top layers ─▶ logit, float32

What a layer writes is still in the second-level cache when the next one reads it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ranking import SIGNED, UNSIGNED, Shape, Stored
from netrun.engines.amx.routine import LINE, aligned
from netrun.engines.laps import Laps
from netrun.engines.ranking.interaction import AHEAD, Interaction, InteractionKernel
from netrun.engines.transformer.product import WIDTH, Product, ProductKernel

CHUNK = 512
"""Pairs that go through all layers together."""
INTERACTION = "interaction"
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Kernels:
    """Which kernels a network's layers have."""

    shape: Shape

    @property
    def interaction(self) -> Interaction:
        """Gather and products."""
        shape = self.shape
        return Interaction(shape.features, shape.width, row_bytes(shape.interaction + LINE // 4))

    @property
    def fits(self) -> bool:
        """Whether there are some for its sizes."""
        shape = self.shape
        hidden = (*shape.bottom, *shape.top[:-1])
        return (
            not shape.cross_rank
            and max(shape.hot) == 1
            and len(shape.top) > 1
            and all(width % WIDTH == 0 for width in hidden)
            and self.interaction.fits
        )


def row_bytes(width: int) -> int:
    """Bytes from a pair to the next: whole lines, one more than needed, against cache conflicts."""
    return -(-width // LINE) * LINE + LINE


class Executor:
    """A network from its arrays (`models.quantize.ranking`) and its tables, mapped.

    For one caller at a time.
    """

    def __init__(
        self,
        shape: Shape,
        arrays: Arrays,
        stored: Mapping[str, Stored],
        tables: NDArray[np.int8],
        scales: NDArray[np.float32],
        threads: int,
        openmp: ctypes.CDLL,
    ) -> None:
        """Make all kernels; raises OSError where memory cannot be made executable."""
        self._arrays, self._stored, self._openmp, self._threads = arrays, stored, openmp, threads
        self._kept: list[Any] = []
        self.shape = shape
        self._each = Laps()
        names = [name.removesuffix(".weight") for name in arrays if name.endswith(".weight")]
        bottom = [name for name in names if name.startswith("bot_l")]
        *top, last = (name for name in names if name.startswith("top_l"))
        self._dense = _buffer(row_bytes(arrays[f"{bottom[0]}.weight"].shape[1]))
        self._how = stored[bottom[0]]
        self._scaled = np.empty((CHUNK, arrays[f"{bottom[0]}.weight"].shape[1]), np.float32)
        layer = Kernels(shape).interaction
        mixed = _buffer(layer.output_stride)
        ends = [*(stored[name] for name in bottom[1:]), stored["x"]]
        self._bottom = self._layers(bottom, ends, self._dense, mixed)
        self._numbers = np.zeros((CHUNK + AHEAD, len(shape.rows)), np.int32)
        counts = np.array(shape.rows, np.int64)
        each = np.append(np.float32(stored["x"].scale), scales).astype(np.float32)
        factors = np.outer(each, each) / np.float32(stored["dots"].scale)
        self._interaction: InteractionKernel = layer.make(
            *(tables, np.cumsum(counts) - counts, threads), layer.pack_factors(factors), openmp
        )
        self._interaction.arguments.source = self._numbers.ctypes.data
        self._interaction.arguments.output = mixed.ctypes.data
        hidden = arrays[f"{last}.weight"].shape[1]
        self._hidden = _buffer(row_bytes(hidden))[:, :hidden]
        ends = [*(stored[name] for name in top[1:]), stored[last]]
        self._top = self._layers(top, ends, mixed, self._hidden)
        self._last = (arrays[f"{last}.weight"][0] * stored[last].scale).astype(np.float32)
        self._shift = np.float32(arrays[f"{last}.bias"][0])
        self._kept += [mixed, self._dense, self._hidden]

    def run(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits float32 [n] of pairs."""
        logits = np.empty(len(dense), np.float32)
        parts = -(-len(dense) // CHUNK)
        for part in range(parts):
            here = slice(len(dense) * part // parts, len(dense) * (part + 1) // parts)
            self._chunk(dense[here], sparse[here], logits[here])
        return logits

    def _chunk(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], logits: NDArray[np.float32]
    ) -> None:
        count = len(dense)
        scaled = np.multiply(dense, np.float32(1 / self._how.scale), out=self._scaled[:count])
        np.rint(scaled, out=scaled)
        np.clip(scaled, *_range(self._how), out=scaled)
        stored = self._dense.view(np.int8) if self._how.signed else self._dense
        stored[:count, : dense.shape[1]] = scaled
        self._numbers[:count] = sparse
        self._interaction.set_pairs(count)
        for name, kernel in self._bottom.items():
            kernel.set_tokens(count)
            self._each(name, kernel.call)
        self._each(INTERACTION, self._interaction.call)
        for name, kernel in self._top.items():
            kernel.set_tokens(count)
            self._each(name, kernel.call)
        np.matmul(self._hidden[:count].astype(np.float32), self._last, out=logits)
        logits += self._shift

    def profile(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> dict[str, int]:
        """Nanoseconds of each kernel, all its calls together, while `run` answers the same."""
        with self._each.measured() as spent:
            self.run(dense, sparse)
        return spent

    def _layers(
        self,
        names: Sequence[str],
        ends: Sequence[Stored],
        source: NDArray[np.uint8],
        output: NDArray[np.uint8],
    ) -> dict[str, ProductKernel]:
        """Layers from a buffer to another; what lies between them has buffers of its own."""
        kernels = {}
        for name, end in zip(names, ends, strict=True):
            wide = len(self._arrays[f"{name}.scales"])
            target = output if name == names[-1] else _buffer(row_bytes(wide))
            kernel = self._layer(name, end, source.strides[0], target.strides[0])
            kernel.arguments.source = source.ctypes.data
            kernel.arguments.output = target.ctypes.data
            kernels[name] = kernel
            self._kept.append(target)
            source = target
        return kernels

    def _layer(self, name: str, end: Stored, source: int, output: int) -> ProductKernel:
        weight = self._arrays[f"{name}.weight"]
        wide, narrow = weight.shape
        whole = np.zeros((wide, -(-narrow // LINE) * LINE), np.int8)
        whole[:, :narrow] = weight
        how = self._stored[name]
        kind = "s8" if end.signed else "u8"
        product = Product(whole.shape[1], wide, kind, source, output, how.signed)
        ratio, end_scale = np.float32(how.scale / end.scale), np.float32(end.scale)
        scales = np.asarray(self._arrays[f"{name}.scales"] * ratio, np.float32)
        bias = np.asarray(self._arrays[f"{name}.bias"] / end_scale, np.float32)
        packed = [_line(product.pack(whole)), _line(product.pack_factors(scales, bias))]
        return product.make(CHUNK, self._threads, packed[0], packed[1], self._openmp)


def _range(how: Stored) -> tuple[int, int]:
    return (-SIGNED, SIGNED) if how.signed else (0, UNSIGNED)


def _buffer(stride: int) -> NDArray[np.uint8]:
    """A row of bytes for each pair of a chunk, up to whole blocks."""
    rows = -(-CHUNK // WIDTH) * WIDTH + WIDTH
    return aligned(rows * stride).reshape(rows, stride)


def _line(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    memory = aligned(data.size)
    memory[:] = data
    return memory
