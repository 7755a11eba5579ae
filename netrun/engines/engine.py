"""What an engine is: facts that it states, what it is loaded from, and how it runs parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from models.method import Method
    from models.task import Answers, Batch, Part, Run, Task
    from netrun.pulse import Pulse


@dataclass(frozen=True)
class EngineFacts:
    """What an engine says of itself."""

    title: str
    """Its name in prose."""
    precisions: tuple[str, ...]
    """What it executes, of netrun.engines.PRECISIONS."""
    extra: str | None = None
    """The extra of this distribution that installs it; None where it needs none."""
    packages: tuple[str, ...] = ()
    """Modules of that extra that it imports."""
    computes: bool = True
    """Whether its answers are a network's: others need neither weights nor an artifact."""
    int8: Method | None = None
    """How it quantises by itself; None where it executes what models.quantize makes."""


@dataclass(frozen=True)
class EngineSpec:
    """What an instance's engine is loaded from."""

    task: Task
    precision: str
    artifact: Path
    """The file of the task's first part, as `build` returned it."""
    batch_size: int
    """Samples of a batch at most; a part may be run on more rows."""
    threads: int
    seed: int = 0
    """Of what is drawn at random: the instance's number."""
    service: Any = None
    """The `sim` engine's model of time, a netrun.config.SimulatedService."""

    def file(self, part: Part) -> Path:
        """The file of a part."""
        return part_file(self.artifact, part)


def part_file(artifact: Path, part: Part) -> Path:
    """The file of a part, which stands beside that of the first one."""
    return artifact.with_suffix(f".{part.name}")


class Engine(Protocol):
    """Runs parts; used by one thread at a time.

    Made by `load`, which does everything that the first batch would otherwise pay for and that can
    be done without samples.
    """

    def part(self, name: str) -> Run:
        """What runs a part: inputs and outputs by field name, as often as a task likes in a batch.

        An input is an array [n, ...], or a list of its n rows of one shape, which are read where
        they lie if the engine can; n is the task's choice. Outputs have the fields' dtypes and are
        valid until the part is run again; those of a `models.gated.Gated` may be uint8 steps.
        ValueError for inputs that are not the part's.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What the run's record says of the engine, in JSON values: versions, kernels."""
        ...


@runtime_checkable
class Answering(Protocol):
    """An engine that runs no network: it answers batches by itself."""

    def answer(self, batch: Batch) -> Answers:
        """One answer a sample, in the batch's order."""
        ...

    def describe(self) -> dict[str, Any]:
        """As an engine's."""
        ...


AnswersOf = Callable[["Batch"], "Answers"]
"""Answers a batch, as `models.task.Task.infer`."""


def answers(task: Task, engine: Engine | Answering, pulse: Pulse | None = None) -> AnswersOf:
    """How `engine` answers batches of `task`; `pulse` sees the steps of those that take long."""
    if isinstance(engine, Answering):
        return engine.answer
    run = {part.name: engine.part(part.name) for part in task.parts}
    if pulse is None or not task.stepwise:
        return lambda batch: task.infer(run, batch)
    stepping = {name: pulse.after(each) for name, each in run.items()}

    def answer(batch: Batch) -> Answers:
        pulse.begin()
        return task.infer(stepping, batch)

    return answer
