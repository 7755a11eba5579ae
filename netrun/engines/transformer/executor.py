"""Runs an int8 encoder on streams of tokens: kernels for AMX, made once, called layer by layer.

::

    embeddings ─▶ normalise ─▶ [ qkv ─▶ attention ─▶ product + x ─▶ normalise
                                 ─▶ product, gelu ─▶ product + x ─▶ normalise ] ... ─▶ logits

A batch is cut into groups of whole sequences, about `GROUP` tokens each, which pass through all
layers one after the other: what a layer writes should still be in the second-level cache when the
next one reads it, and weights should be read for many tokens.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netrun.engines.amx.routine import LINE, aligned
from netrun.engines.laps import Laps
from netrun.engines.transformer.attention import KEYS, Attention, AttentionKernel
from netrun.engines.transformer.normalise import Normalise, NormaliseKernel
from netrun.engines.transformer.product import WIDTH, Product, ProductKernel

Arrays = Mapping[str, NDArray[Any]]
GROUP = 1024
"""Tokens of a group, unless one sequence is longer."""
INNER = 256
"""Tokens between the two wide products: what lies between them is large."""


@dataclass(frozen=True)
class Shape:
    """Dimensions of an encoder."""

    hidden: int
    layers: int
    heads: int
    inner: int
    eps: float

    def row(self, channels: int, size: int) -> int:
        """Bytes from a token to the next: a line more than it has, against cache conflicts."""
        return channels * size + LINE

    @property
    def qkv(self) -> Product:
        """Queries, keys and values."""
        hidden = self.hidden
        return Product(hidden, 3 * hidden, "bf16", self.row(hidden, 1), self.row(3 * hidden, 2))

    @property
    def joins(self) -> Product:
        """What attention saw, added to what came before."""
        hidden = self.hidden
        return Product(hidden, hidden, "residual", self.row(hidden, 1), self.row(hidden, 2))

    @property
    def widens(self) -> Product:
        """The first of the two wide products."""
        source, output = self.row(self.hidden, 1), self.row(self.inner, 1)
        return Product(self.hidden, self.inner, "gelu", source, output)

    @property
    def narrows(self) -> Product:
        """The second one."""
        source, output = self.row(self.inner, 1), self.row(self.hidden, 2)
        return Product(self.inner, self.hidden, "residual", source, output)

    @property
    def attention(self) -> Attention:
        """Attention."""
        hidden = self.hidden
        return Attention(
            self.heads, hidden // self.heads, self.row(3 * hidden, 2), self.row(hidden, 1)
        )

    @property
    def normalise(self) -> Normalise:
        """Normalisation."""
        return Normalise(self.hidden, self.eps, self.row(self.hidden, 2), self.row(self.hidden, 1))

    @property
    def fits(self) -> bool:
        """Whether there are kernels for these dimensions."""
        products = (self.qkv, self.joins, self.widens, self.narrows)
        others = (self.attention, self.normalise)
        return all(one.fits for one in (*products, *others))


def pack(arrays: Arrays, shape: Shape) -> dict[str, NDArray[Any]]:
    """Arrays of models.quantize.encoder as the kernels read them, for an artifact."""
    packed: dict[str, NDArray[Any]] = {
        name: np.asarray(array)
        for name, array in arrays.items()
        if name.startswith(("embedding.", "head.")) and "norm" not in name
    }

    def product(name: str, layer: Product) -> None:
        given = (f"{name}.{part}" for part in ("scales", "bias", "gain", "shift"))
        factors = [arrays[key] for key in given if key in arrays]
        packed[f"{name}.weight"] = layer.pack(arrays[f"{name}.weight"])
        packed[f"{name}.factors"] = layer.pack_factors(*factors)

    def norm(name: str) -> None:
        given = (arrays[f"{name}.{part}"] for part in ("gamma", "beta", "gain", "shift"))
        packed[name] = shape.normalise.pack(*given)

    norm("embedding.norm")
    for number in range(shape.layers):
        product(f"{number}.qkv", shape.qkv)
        product(f"{number}.attention", shape.joins)
        norm(f"{number}.attention.norm")
        product(f"{number}.inner", shape.widens)
        product(f"{number}.output", shape.narrows)
        norm(f"{number}.output.norm")
    return packed


@dataclass(frozen=True)
class _Layer:
    qkv: ProductKernel
    joins: ProductKernel
    first_norm: NormaliseKernel
    widens: ProductKernel
    narrows: ProductKernel
    second_norm: NormaliseKernel


class Executor:
    """An encoder with its head, for one caller at a time.

    `arrays` are those of `pack`, kept where they are (mapped from an artifact); only buffers and
    code are this process's own.
    """

    def __init__(
        self, arrays: Arrays, shape: Shape, longest: int, threads: int, openmp: ctypes.CDLL
    ) -> None:
        """Make all kernels; raises OSError where memory cannot be made executable."""
        self._arrays, self._shape, self._threads = arrays, shape, threads
        self._longest = longest
        self._each = Laps()
        self.most = max(GROUP, -(-longest // WIDTH) * WIDTH)
        rows = self.most + max(KEYS, WIDTH)
        hidden, inner = shape.hidden, shape.inner

        def buffer(channels: int, size: int, tokens: int = rows) -> NDArray[np.uint8]:
            return aligned(tokens * shape.row(channels, size)).reshape(tokens, -1)

        self._x, self._y = buffer(hidden, 2), buffer(hidden, 2)
        self._narrow, self._seen = buffer(hidden, 1), buffer(hidden, 1)
        self._qkv, self._inner = buffer(3 * hidden, 2), buffer(inner, 1, INNER)
        self._attention: AttentionKernel = shape.attention.make(longest, threads, openmp)
        self._embed = shape.normalise.make(threads, arrays["embedding.norm"], openmp)
        self._point(self._embed, self._y, self._x, self._narrow)
        self._point(self._attention, self._qkv, self._seen)
        self._layers = [self._make_layer(number, openmp) for number in range(shape.layers)]

    def _make_layer(self, number: int, openmp: ctypes.CDLL) -> _Layer:
        shape = self._shape

        def product(name: str, layer: Product, tokens: int) -> ProductKernel:
            weights = self._arrays[f"{number}.{name}.weight"]
            factors = self._arrays[f"{number}.{name}.factors"]
            return layer.make(tokens, self._threads, weights, factors, openmp)

        def norm(name: str) -> NormaliseKernel:
            kernel = shape.normalise.make(self._threads, self._arrays[f"{number}.{name}"], openmp)
            self._point(kernel, self._y, self._x, self._narrow)
            return kernel

        layer = _Layer(
            product("qkv", shape.qkv, self.most),
            product("attention", shape.joins, self.most),
            norm("attention.norm"),
            product("inner", shape.widens, INNER),
            product("output", shape.narrows, INNER),
            norm("output.norm"),
        )
        self._point(layer.qkv, self._narrow, self._qkv)
        self._point(layer.joins, self._seen, self._y, self._x)
        return layer

    @staticmethod
    def _point(
        kernel: Any,
        source: NDArray[np.uint8],
        output: NDArray[np.uint8],
        residual: NDArray[np.uint8] | None = None,
    ) -> None:
        kernel.arguments.source = source.ctypes.data
        kernel.arguments.output = output.ctypes.data
        if residual is not None:
            kernel.arguments.residual = residual.ctypes.data

    def run(
        self, ids: NDArray[np.int32], positions: NDArray[np.int32], types: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Logits [tokens, 2] of sequences one behind the other.

        Of every token its word piece, its place in its sequence and its segment, as for
        `QuestionAnswering.forward`. Raises ValueError where a sequence is longer than agreed.
        """
        logits = np.empty((len(ids), len(self._arrays["head.bias"])), np.float32)
        starts = np.flatnonzero(positions == 0)
        lengths = np.diff(starts, append=len(ids))
        if lengths.max(initial=0) > self._longest:
            raise ValueError(f"a sequence of {lengths.max()} tokens, at most {self._longest} fit")
        start = 0
        for first, last in groups(lengths.tolist(), self.most):
            sizes = lengths[first:last]
            here = slice(start, start + int(sizes.sum()))
            self._embed_tokens(ids[here], positions[here], types[here])
            self._group(sizes.tolist(), logits[here])
            start = here.stop
        return logits

    def profile(
        self, ids: NDArray[np.int32], positions: NDArray[np.int32], types: NDArray[np.int32]
    ) -> dict[str, int]:
        """Nanoseconds of each kernel, all its calls together, while `run` answers the same."""
        with self._each.measured() as spent:
            self.run(ids, positions, types)
        return spent

    def _group(self, lengths: Sequence[int], logits: NDArray[np.float32]) -> None:
        tokens = sum(lengths)
        self._attention.set_lengths(lengths)
        self._embed.set_tokens(tokens)
        self._each("embedding.norm", self._embed.call)
        for number, layer in enumerate(self._layers):
            for kernel in (layer.qkv, layer.joins, layer.first_norm, layer.second_norm):
                kernel.set_tokens(tokens)
            self._each(f"{number}.qkv", layer.qkv.call)
            self._each(f"{number}.attention", self._attention.call)
            self._each(f"{number}.joins", layer.joins.call)
            self._each(f"{number}.attention.norm", layer.first_norm.call)
            self._wide(number, layer, tokens)
            self._each(f"{number}.output.norm", layer.second_norm.call)
        self._each("head", partial(self._head, logits))

    def _head(self, logits: NDArray[np.float32]) -> None:
        hidden = self._x[: len(logits), : 2 * self._shape.hidden]
        wide = hidden.view(np.float16).astype(np.float32)
        np.matmul(wide, self._arrays["head.weight"].T, out=logits)
        logits += self._arrays["head.bias"]

    def _wide(self, number: int, layer: _Layer, tokens: int) -> None:
        """The two wide products, some tokens at a time."""
        shape = self._shape
        parts = -(-tokens // INNER)
        each = -(-tokens // parts // WIDTH) * WIDTH
        layer.widens.arguments.output = layer.narrows.arguments.source = self._inner.ctypes.data
        for begin in range(0, tokens, each):
            count = min(each, tokens - begin)
            wide = begin * shape.row(shape.hidden, 2)
            layer.widens.arguments.source = self._narrow.ctypes.data + begin * shape.row(
                shape.hidden, 1
            )
            layer.narrows.arguments.residual = self._x.ctypes.data + wide
            layer.narrows.arguments.output = self._y.ctypes.data + wide
            layer.widens.set_tokens(count)
            layer.narrows.set_tokens(count)
            self._each(f"{number}.inner", layer.widens.call)
            self._each(f"{number}.output", layer.narrows.call)

    def _embed_tokens(
        self, ids: NDArray[np.int32], positions: NDArray[np.int32], types: NDArray[np.int32]
    ) -> None:
        words = self._arrays["embedding.words"][ids].astype(np.float32)
        words += self._arrays["embedding.positions"][positions]
        words += self._arrays["embedding.types"][types]
        self._y[: len(ids), : 2 * self._shape.hidden].view(np.float16)[:] = words


def groups(lengths: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Cut sequences of these lengths into runs of at most `most` tokens, about equally large.

    Yields the first and the last but one of each.
    """
    total, first, tokens = sum(lengths), 0, 0
    wanted = total / max(1, -(-total // most))
    for number, length in enumerate(lengths):
        if tokens and (tokens + length > most or tokens + length / 2 > wanted):
            yield first, number
            first, tokens = number, 0
        tokens += length
    yield first, len(lengths)
