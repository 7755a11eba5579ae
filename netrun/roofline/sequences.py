"""The kernels of an encoder on a batch of sequences, and the time that each takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.samples import Prepared
from models.squad.stream import stream
from models.task import Array
from netrun.engines.transformer.engine import EncoderRun
from netrun.engines.transformer.executor import Shape
from netrun.roofline.measurement import Layer
from netrun.roofline.passes import KERNEL, KernelPasses, Work

HEAD = "head"
SEGMENT = 14
"""Where the second segment begins: it changes no time."""


class SequencePasses(KernelPasses):
    """Times of many passes over one batch, which stands for the data set: see `middle`."""

    def __init__(self, run: EncoderRun, samples: Prepared, batch_size: int) -> None:
        super().__init__(run, run.profile)
        self._shape = run.shape
        field = samples.fields[0].name
        ids = [samples[index][field] for index in range(len(samples))]
        chosen = middle([len(each) for each in ids], batch_size)
        self._lengths = [len(ids[index]) for index in chosen]
        given = stream([ids[index] for index in chosen], [SEGMENT] * len(chosen))
        self._given = [given[name] for name in ("input_ids", "positions", "types")]

    def given(self) -> list[Array]:
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


def middle(lengths: Sequence[int], count: int) -> list[int]:
    """`count` sequences whose lengths are evenly spread over all: their indices."""
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    return [order[int((each + 0.5) / count * len(order))] for each in range(count)]


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
