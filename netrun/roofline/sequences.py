"""The kernels of an encoder on a batch of sequences, and the time that each takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from models.samples import Prepared
from models.squad.stream import stream
from models.task import Array
from netrun.engines.transformer.engine import EncoderRun
from netrun.engines.transformer.executor import Shape
from netrun.roofline.measurement import Layer

KERNEL = "AMX, our own"
SEGMENT = 14
"""Where the second segment begins: it changes no time."""


class SequencePasses:
    """Times of many passes over one batch, which stands for the data set: see `middle`."""

    def __init__(self, run: EncoderRun, samples: Prepared, batch_size: int) -> None:
        self._run = run
        field = samples.fields[0].name
        ids = [samples[index][field] for index in range(len(samples))]
        chosen = middle([len(each) for each in ids], batch_size)
        self._lengths = [len(ids[index]) for index in chosen]
        given: Mapping[str, Array] = stream(
            [ids[index] for index in chosen], [SEGMENT] * len(chosen)
        )
        self._given = given
        self._steps: list[Mapping[str, int]] = []
        self._wholes: list[int] = []

    def warm(self) -> None:
        """One pass that does not count: other work has been through the caches."""
        self._run(**self._given)

    def measure(self) -> None:
        """One pass kernel by kernel and one as a whole."""
        began = time.perf_counter_ns()
        self._run(**self._given)
        self._wholes.append(time.perf_counter_ns() - began)
        self._steps.append(self._run.profile(**self._given))

    def __len__(self) -> int:
        return len(self._wholes)

    def whole_ns(self) -> float:
        """The median of whole passes."""
        return float(np.median(self._wholes))

    def layers(self) -> tuple[Layer, ...]:
        """Each kernel, with its median time."""
        return tuple(
            Layer(
                name=name,
                source=(sum(self._lengths), source),
                output=(sum(self._lengths), output),
                kernel=KERNEL if name != "head" else "NumPy",
                macs=macs,
                bytes=moved,
                seconds=max(float(np.median([step[name] for step in self._steps])), 1.0) / 1e9,
            )
            for name, source, output, macs, moved in work(self._run.shape, self._lengths)
        )

    def macs_with_padding(self) -> int:
        """The work of a mean sample of the batch."""
        return sum(layer.macs for layer in self.layers()) // len(self._lengths)


def middle(lengths: Sequence[int], count: int) -> list[int]:
    """`count` sequences whose lengths are evenly spread over all: their indices."""
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    return [order[int((each + 0.5) / count * len(order))] for each in range(count)]


def work(shape: Shape, lengths: Sequence[int]) -> Iterator[tuple[str, int, int, int, int]]:
    """Of each kernel: name, channels in and out, multiply-accumulates, bytes moved at least."""
    hidden, inner, tokens = shape.hidden, shape.inner, sum(lengths)
    scores = 2 * hidden * sum(length * length for length in lengths)

    def product(
        name: str, channels: int, outputs: int, size: int, residual: int = 0
    ) -> tuple[str, int, int, int, int]:
        """`size` and `residual` are bytes a token of an output channel, written and read."""
        weights = channels * outputs
        moved = tokens * (channels + (size + residual) * outputs) + weights
        return name, channels, outputs, tokens * weights, moved

    def norm(name: str) -> tuple[str, int, int, int, int]:
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
    yield "head", hidden, 2, 2 * tokens * hidden, tokens * (2 * hidden + 2 * 4)
