"""Cutting a batch so that activations stay in the cache.

A batch need not go through the whole network at once. Early layers have large activations and few
weights: one sample at a time, what a layer writes is still in the second-level cache when the next
one reads it. Late layers have small activations and many weights, which several samples share.
A program is therefore cut into stages, and each stage takes the batch in chunks of its own size::

    batch of 8     stage 1, chunks of 1      stage 2, chunks of 4     stage 3, all 8
    ........  -->  .  .  .  .  .  .  .  . -> ....  ....            -> ........

Between stages lies one tensor, for the whole batch. Inside, every chunk uses the same small buffer.
Outputs of the program may be made anywhere; each has room for the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from models.program import Convolution, Operation, Program

LINE = 64


@dataclass(frozen=True)
class Stage:
    """Operations that `chunk` samples at most go through together.

    `source` and `output` are its only tensors that other stages, or the caller, see.
    """

    operations: tuple[Operation, ...]
    source: str
    output: str
    chunk: int

    def exits(self, program: Program) -> list[str]:
        """Outputs of the program that are made here, beside `output`."""
        made = {operation.output for operation in self.operations} - {self.output}
        return [name for name in program.outputs if name in made]


@dataclass(frozen=True)
class Buffers:
    """Where a stage's tensors lie: at an offset inside, or at its source's or output's address.

    Its exits have addresses of their own.
    """

    inside: dict[str, int]
    size: int
    at_source: frozenset[str]
    at_output: frozenset[str]


def cut(program: Program, batch: int, cache: int) -> list[Stage]:
    """Stages for batches of up to `batch` samples on cores with `cache` bytes in all.

    A chunk is the largest power of two (at most `batch`) of which a layer's source, residual and
    output fit the cache together; one sample where none does. Cuts lie only where a single tensor
    is alive, so a residual block is one piece.
    """
    stages: list[Stage] = []
    for operations in _pieces(program):
        most = max(_working_set(program, operation) for operation in operations)
        chunk = min(batch, 1 << max(0, (cache // most).bit_length() - 1))
        if stages and stages[-1].chunk == chunk:
            operations = (*stages.pop().operations, *operations)
        stages.append(Stage(operations, operations[0].source, operations[-1].output, chunk))
    return stages


SHARES: dict[str, float] = {
    "cache": 1.0,
    "half the cache": 0.5,
    "twice the cache": 2.0,
    "four times the cache": 4.0,
    "whole batches": math.inf,
}
"""Ways to cut a program, by the part of the cache that a layer's tensors may fill; the first is
what theory says, and measurement decides (`measure.fastest`)."""


def ways_to_cut(program: Program, batch: int, cache: int) -> dict[str, list[Stage]]:
    """Every way of `SHARES` that gives other stages than those before it."""
    ways: dict[str, list[Stage]] = {}
    for name, share in SHARES.items():
        size = cache * share
        stages = cut(program, batch, int(size) if math.isfinite(size) else 1 << 62)
        if stages not in ways.values():
            ways[name] = stages
    return ways


def describe(stages: list[Stage]) -> list[list[int]]:
    """Stages as JSON values: [number of operations, samples of a chunk] each."""
    return [[len(stage.operations), stage.chunk] for stage in stages]


def from_description(program: Program, described: list[list[int]]) -> list[Stage]:
    """The reverse of `describe`; raises ValueError where it is of another program."""
    stages, start = [], 0
    for count, chunk in described:
        operations = program.operations[start : start + count]
        start += count
        if not operations or chunk < 1:
            break
        stages.append(Stage(operations, operations[0].source, operations[-1].output, chunk))
    if start != len(program.operations) or len(stages) != len(described):
        raise ValueError(
            f"stages {described} are not those of {len(program.operations)} operations"
        )
    return stages


def sizes(stage: Stage, batches: Iterable[int]) -> list[int]:
    """The sizes of the chunks that batches of `batches` samples have in a stage, ascending."""
    return sorted({end - start for n in batches for start, end in chunks(n, stage.chunk)})


def chunks(count: int, most: int) -> Iterator[tuple[int, int]]:
    """(start, end) of as few and as equal parts of `count` as sizes up to `most` allow."""
    parts = -(-count // most)
    for part in range(parts):
        yield count * part // parts, count * (part + 1) // parts


def sample_bytes(program: Program, name: str) -> int:
    """Bytes of one sample of a tensor."""
    tensor = program.tensors[name]
    return int(np.prod(tensor.shape)) * tensor.numpy_dtype.itemsize


def plan_buffers(program: Program, stage: Stage, chunk: int) -> Buffers:
    """Place a stage's tensors for a chunk of that many samples.

    A tensor's bytes are free again after its last reader; the first gap that fits is taken. A
    residual addition accumulates in place: its output takes over the residual's bytes. Raises
    ValueError where the residual is read again later.
    """
    last_use = _last_uses(stage.operations, [stage.output])
    exits = set(stage.exits(program))
    home = {stage.source: stage.source}  # tensor -> the one whose bytes it took over, or itself
    ends: dict[str, int] = {}  # home -> the step after which nobody reads its bytes
    for step, operation in enumerate(stage.operations):
        residual, output = _residual(operation), operation.output
        if residual is not None and (last_use[residual] > step or residual in exits):
            raise ValueError(f"{operation.name}: its residual is read again later")
        home[output] = output if residual is None else home[residual]
        ends[home[output]] = last_use.get(output, step)
    if home[stage.output] == program.input:
        raise ValueError(f"{stage.output}: it would be written over the samples")
    inside: dict[str, int] = {}
    live: dict[str, tuple[int, int]] = {}  # home -> (start, end)
    top = 0
    for step, operation in enumerate(stage.operations):
        place = home[operation.output]
        if place not in (stage.source, home[stage.output], *exits):
            if place not in live:
                live[place] = _first_gap(sample_bytes(program, place) * chunk, live)
                top = max(top, live[place][1])
            inside[operation.output] = live[place][0]
        live = {name: span for name, span in live.items() if ends[name] > step}
    return Buffers(
        inside,
        top,
        frozenset(n for n in home if home[n] == stage.source),
        frozenset(n for n in home if home[n] == home[stage.output] != stage.source),
    )


def _first_gap(size: int, live: dict[str, tuple[int, int]]) -> tuple[int, int]:
    start, size = 0, size + -size % LINE
    for begin, end in sorted(live.values()):
        if begin - start >= size:
            break
        start = max(start, end)
    return start, start + size


def _pieces(program: Program) -> Iterator[tuple[Operation, ...]]:
    """The shortest runs of operations between which one tensor alone is alive."""
    last_use = _last_uses(program.operations, [])
    alive = {program.input}
    piece: list[Operation] = []
    for step, operation in enumerate(program.operations):
        piece.append(operation)
        alive.add(operation.output)
        alive = {name for name in alive if last_use.get(name, -1) > step}
        # What is an output, too, does not lie between stages.
        if alive == {operation.output} and operation.output not in program.outputs:
            yield tuple(piece)
            piece = []
    if piece:
        yield tuple(piece)


def _last_uses(operations: tuple[Operation, ...], outputs: Iterable[str]) -> dict[str, int]:
    """The step at which each tensor is last read; `outputs` are read after all of them."""
    uses = {name: step for step, operation in enumerate(operations) for name in _reads(operation)}
    return {**uses, **dict.fromkeys(outputs, len(operations))}


def _working_set(program: Program, operation: Operation) -> int:
    residual = _residual(operation)  # accumulated in place: its bytes are the output's
    named = {operation.source, operation.output} - {residual}
    return sum(sample_bytes(program, name) for name in named)


def _reads(operation: Operation) -> list[str]:
    residual = _residual(operation)
    return [operation.source] if residual is None else [operation.source, residual]


def _residual(operation: Operation) -> str | None:
    return operation.residual if isinstance(operation, Convolution) else None
