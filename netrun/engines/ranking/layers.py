"""A ranking network's layers as kernels for AMX, each from a buffer to another.

A buffer has a row for each pair that goes through the layers together, whole lines and one more
than it needs, against cache conflicts.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ranking import Shape, Stored
from netrun.engines.amx.routine import LINE, aligned
from netrun.engines.transformer.product import WIDTH, Product, ProductKernel

Arrays = Mapping[str, NDArray[Any]]


def row_bytes(width: int) -> int:
    """Bytes from a pair to the next, of which `width` are used."""
    return -(-width // LINE) * LINE + LINE


def buffer(pairs: int, stride: int) -> NDArray[np.uint8]:
    """A row of bytes for each pair, up to whole blocks."""
    rows = -(-pairs // WIDTH) * WIDTH + WIDTH
    return aligned(rows * stride).reshape(rows, stride)


def chains_fit(shape: Shape) -> bool:
    """Whether there are kernels for the sizes of the bottom and the top network."""
    hidden = (*shape.bottom, *shape.top[:-1])
    return len(shape.top) > 1 and all(width % WIDTH == 0 for width in hidden)


@dataclass
class Layers:
    """Makes kernels of layers from a network's arrays (`models.quantize.ranking`)."""

    arrays: Arrays
    stored: Mapping[str, Stored]
    pairs: int
    """The most that go through a kernel together."""
    threads: int
    openmp: ctypes.CDLL
    kept: list[Any] = field(default_factory=list)
    """Buffers between layers, which kernels point to."""

    def names(self, part: str) -> list[str]:
        """The layers of a part of the network, in the order in which they run."""
        found = [name.removesuffix(".weight") for name in self.arrays if name.endswith(".weight")]
        return [name for name in found if name.startswith(part)]

    def width_of(self, name: str) -> int:
        """How many values a layer reads of a pair."""
        return int(self.arrays[f"{name}.weight"].shape[1])

    def chain(
        self,
        names: Sequence[str],
        end: Stored | None,
        source: NDArray[np.uint8],
        output: NDArray[np.uint8],
    ) -> dict[str, ProductKernel]:
        """Layers with ReLUs from a buffer to another; `end` is how the last one's output is stored.

        What is not stored in 8 bits is bfloat16. Raises OSError as kernels do.
        """
        kernels = {}
        ends = [*(self.stored.get(name) for name in names[1:]), end]
        for name, how in zip(names, ends, strict=True):
            kind = "relu" if how is None else "s8" if how.signed else "u8"
            target = output
            if name != names[-1]:
                wide = len(self.arrays[f"{name}.weight"]) * (2 if how is None else 1)
                target = buffer(self.pairs, row_bytes(wide))
                self.kept.append(target)
            kernels[name] = self.layer(name, kind, how, source, target)
            source = target
        return kernels

    def layer(
        self,
        name: str,
        kind: str,
        end: Stored | None,
        source: NDArray[np.uint8],
        output: NDArray[np.uint8],
    ) -> ProductKernel:
        """A layer's kernel; `kind` is what follows its sums."""
        weight, how = self.arrays[f"{name}.weight"], self.stored.get(name)
        wide, narrow = weight.shape
        unit = LINE // weight.itemsize
        whole = np.zeros((wide, -(-narrow // unit) * unit), weight.dtype)
        whole[:, :narrow] = weight
        read = "bf16" if how is None else "s8" if how.signed else "u8"
        product = Product(
            whole.shape[1], wide, kind, source.strides[0], output.strides[0], source=read
        )
        end_scale = np.float32(1 if end is None else end.scale)
        ratio = np.float32((1 if how is None else how.scale) / end_scale)
        scales = self.arrays.get(f"{name}.scales", np.ones(wide, np.float32)) * ratio
        bias = self.arrays.get(f"{name}.bias", np.zeros(wide, np.float32)) / end_scale
        factors = product.pack_factors(*(np.asarray(each, np.float32) for each in (scales, bias)))
        packed = [_line(product.pack(whole)), _line(factors)]
        kernel = product.make(self.pairs, self.threads, packed[0], packed[1], self.openmp)
        kernel.arguments.source = source.ctypes.data
        kernel.arguments.output = output.ctypes.data
        return kernel


def _line(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    memory = aligned(data.size)
    memory[:] = data
    return memory
