"""The kernels of an encoder on a batch of sequences, and the time that each takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from models.task import Array
from netrun.engines.transformer.engine import EncoderRun
from netrun.engines.transformer.executor import Shape
from netrun.roofline.measurement import Layer
from netrun.roofline.passes import KERNEL, KernelPasses, Work

HEAD = "head"


class SequencePasses(KernelPasses):
    """Times of many passes over one batch: ids, positions and types of its stream of tokens."""

    def __init__(self, run: EncoderRun, given: Sequence[Array]) -> None:
        super().__init__(run, run.profile)
        self._shape = run.shape
        self._given = given
        _, positions, _ = given
        starts = np.flatnonzero(positions == 0)
        self._lengths: list[int] = np.diff(starts, append=len(positions)).tolist()

    def given(self) -> Sequence[Array]:
        """The batch."""
        return self._given

    def layers(self) -> tuple[Layer, ...]:
        """Each kernel, with its median time."""
        return tuple(
            self.layer(one, sum(self._lengths), "NumPy" if one[0] == HEAD else KERNEL)
            for one in work(self._shape, self._lengths)
        )

    def macs_with_padding(self) -> int:
        """The work of a mean sample of the batch."""
        return sum(macs for *_, macs, _ in work(self._shape, self._lengths)) // len(self._lengths)


def work(shape: Shape, lengths: Sequence[int]) -> Iterator[Work]:
    """Of each kernel: name, channels in and out, multiply-accumulates, bytes moved at least."""
    hidden, inner, tokens = shape.hidden, shape.inner, sum(lengths)
    scores = 2 * hidden * sum(length * length for length in lengths)

    def product(name: str, channels: int, outputs: int, size: int, residual: int = 0) -> Work:
        """`size` and `residual` are bytes a token of an output channel, written and read."""
        weights = channels * outputs
        moved = tokens * (channels + (size + residual) * outputs) + weights
        return name, channels, outputs, tokens * weights, moved

    def norm(name: str) -> Work:
        """Reads a float16, writes it normalised and its int8 form."""
        return name, hidden, hidden, 0, tokens * hidden * (2 + 2 + 1)

    yield norm("embedding.norm")
    for number in range(shape.layers):
        yield product(f"{number}.qkv", hidden, 3 * hidden, 2)
        yield f"{number}.attention", 3 * hidden, hidden, scores, tokens * hidden * (3 * 2 + 1)
        yield product(f"{number}.joins", hidden, hidden, 2, 2)
        yield norm(f"{number}.attention.norm")
        yield product(f"{number}.inner", hidden, inner, 1)
        yield product(f"{number}.output", inner, hidden, 2, 2)
        yield norm(f"{number}.output.norm")
    yield HEAD, hidden, 2, 2 * tokens * hidden, tokens * (2 * hidden + 2 * 4)
