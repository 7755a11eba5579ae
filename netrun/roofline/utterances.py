"""What a transducer's time goes into, from waves to labels.

Its parts are run as often as the task decodes: whole answers are measured, the kernels of each part
inside them, and what the task does around the parts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.batch import Samples
from models.task import Array, Run, Task
from netrun.engines.rows import Given, stacked
from netrun.engines.transducer.artifact import JOINED, KERNELS
from netrun.engines.transducer.engine import TransducerEngine
from netrun.engines.transducer.executor import STACKED
from netrun.engines.transducer.rows import Rows
from netrun.roofline.measurement import Layer
from netrun.roofline.passes import KERNEL, KernelPasses, Work

FEATURES, DECODING, ROWS = "features", "decoding", "rows"
"""Around the parts: before the first one, and behind it; and around a part's kernels."""
OPERATORS, NUMPY = "PyTorch's oneDNN", "NumPy"
HALF, FLOAT = 2, 4
"""Bytes of a number."""
Piece = tuple[Work, int, str]
"""Work, its rows, and what does it."""


@dataclass
class Calls:
    """How often a part was run, on how many rows, and for how many nanoseconds."""

    calls: int = 0
    rows: int = 0
    spent: int = 0
    began: int = 0
    """When it was run for the first time."""
    first: Mapping[str, Given] = field(default_factory=dict)
    """What it was given then."""


class UtterancePasses(KernelPasses):
    """Times of many answers to one batch."""

    def __init__(
        self, task: Task, engine: TransducerEngine, samples: Sequence[Mapping[str, Array]]
    ) -> None:
        super().__init__(self._answer, self._profile)
        self._task, self._engine, self._batch = task, engine, Samples(samples)
        self._parts = {part.name: engine.part(part.name) for part in task.parts}
        calls = self._counted()
        given = stacked(task.parts[0], calls[task.parts[0].name].first)
        waves = sum(array.nbytes for one in samples for array in one.values())
        self._pieces = list(pieces(engine, calls, given[0].shape[2], given[1], waves))

    def given(self) -> tuple[()]:
        """Nothing: a pass answers the batch."""
        return ()

    def layers(self) -> tuple[Layer, ...]:
        """Each kernel, and what is between them, with its median time."""
        return tuple(self.layer(*piece) for piece in self._pieces)

    def macs_with_padding(self) -> int:
        """The work of a mean utterance of the batch."""
        return sum(macs for (*_, macs, _), *_ in self._pieces) // len(self._batch)

    def _answer(self) -> None:
        self._task.infer(self._parts, self._batch)

    def _counted(self) -> dict[str, Calls]:
        """Answer the batch; how the parts were run."""
        calls = {name: Calls() for name in self._parts}
        self._task.infer(
            {name: _noted(run, calls[name]) for name, run in self._parts.items()}, self._batch
        )
        return calls

    def _profile(self) -> dict[str, int]:
        with self._engine.measured() as kernels:
            began = time.perf_counter_ns()
            calls = self._counted()
            whole = time.perf_counter_ns() - began
        first, *_ = calls.values()
        found = {FEATURES: first.began - began}
        for part, called in calls.items():
            if part in kernels:
                inside = {f"{part}.{name}": spent for name, spent in kernels[part].items()}
                found |= {**inside, f"{part}.{ROWS}": called.spent - sum(inside.values())}
            else:
                found[part] = called.spent
        return {**found, DECODING: whole - sum(found.values())}


def _noted(run: Run, calls: Calls) -> Run:
    def noted(**inputs: Given) -> Mapping[str, Array]:
        began = time.perf_counter_ns()
        found = run(**inputs)
        calls.spent += time.perf_counter_ns() - began
        if not calls.calls:
            calls.began, calls.first = began, inputs
        calls.calls += 1
        calls.rows += len(next(iter(inputs.values())))
        return found

    return noted


def pieces(
    engine: TransducerEngine, calls: Mapping[str, Calls], width: int, lengths: Array, waves: int
) -> Iterator[Piece]:
    """What a batch is made of, in the order in which it happens.

    `lengths` int [n] are the features of each utterance, of `width` values; `waves` the bytes that
    they come from. Weights that each step multiplies are moved at each.
    """
    by = KERNEL if engine.tiles else OPERATORS
    rows = Rows.of(np.sort(lengths[lengths > 0])[::-1])
    pairs = Rows.of(-(-rows.lengths // STACKED))
    yield (FEATURES, width, width, 0, waves + FLOAT * rows.total * width), rows.total, NUMPY

    def product(name: str, count: int, steps: int, shape: tuple[int, int], each: int) -> Piece:
        """`each`: bytes of an output that are read and written."""
        out, inside = shape
        moved = count * (inside + each * out) + steps * (out * inside + 2 * FLOAT * out)
        return (name, inside, out, count * inside * out, moved), count, by

    def gates(name: str, count: int, units: int) -> Piece:
        moved = count * units * (4 * HALF + 2 * FLOAT + 1)
        return (name, 4 * units, units, 0, moved), count, by

    part, shapes = "encoder", engine.products["encoder"]
    layers = sum(name.endswith(KERNELS[0]) for name in shapes)
    units = shapes[f"0.{KERNELS[1]}"][1]
    seen = rows
    for number in range(layers):
        into, back, last = (f"{number}.{kind}" for kind in KERNELS)
        if number and shapes[into][1] == STACKED * units:
            seen = pairs
        steps, first = len(seen.counts), int(seen.counts[0])
        shape = (shapes[into][0], width) if number == 0 else shapes[into]
        yield product(f"{part}.{into}", seen.total, 1, shape, HALF)
        yield product(f"{part}.{back}", seen.total - first, steps - 1, shapes[back], 2 * HALF)
        yield gates(f"{part}.{last}", seen.total, units)
    yield product(f"{part}.{JOINED}", pairs.total, 1, shapes[JOINED], HALF)
    joint = shapes[JOINED][0]
    moved = rows.total * width * (FLOAT + 1) + pairs.total * joint * (HALF + FLOAT)
    yield (f"{part}.{ROWS}", width, joint, 0, moved), rows.total, NUMPY

    part, shapes = "prediction", engine.products["prediction"]
    called = calls[part]
    units = shapes[f"0.{KERNELS[1]}"][1]
    known = called.rows - len(lengths)  # of the first call nothing went before
    layers = sum(name.endswith(KERNELS[1]) for name in shapes)
    for number in range(layers):
        into, back, last = (f"{number}.{kind}" for kind in KERNELS)
        if number:
            yield product(f"{part}.{into}", called.rows, called.calls, shapes[into], HALF)
        if known:
            yield product(f"{part}.{back}", known, called.calls - 1, shapes[back], 2 * HALF)
        yield gates(f"{part}.{last}", called.rows, units)
    yield product(f"{part}.{JOINED}", called.rows, called.calls, shapes[JOINED], HALF)
    moved = called.rows * layers * units * 4 * FLOAT
    yield (f"{part}.{ROWS}", units, joint, 0, moved), called.rows, NUMPY

    called, labels = calls["joint"], engine.labels
    moved = FLOAT * (called.rows * (2 * joint + labels) + called.calls * joint * labels)
    yield ("joint", joint, labels, called.rows * joint * labels, moved), called.rows, NUMPY
    # The frames that are looked at, and the prediction for each, are put side by side.
    moved = 2 * 2 * FLOAT * called.rows * joint
    yield (DECODING, 2 * joint, 2 * joint, 0, moved), called.rows, NUMPY
