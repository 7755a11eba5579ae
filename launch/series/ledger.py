"""What became of the steps of a series, kept on disk, so that the same command goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from base.checked import read
from base.errors import ExitCode
from launch.outcome.results import write_json
from launch.series.steps import Step

FOLDER = "run-all"
"""Of the results directory: a file for each series that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a step ended: its exit code, what a table shows of it, and the run that it was."""

    code: int
    verdict: str
    result: str = ""
    accuracy: str = ""
    place: str = ""
    run_id: str | None = None
    message: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing is left to do."""
        return self.code == ExitCode.OK


@dataclass(frozen=True, kw_only=True)
class _Kept:
    command: tuple[str, ...]
    steps: dict[str, Ended] = field(default_factory=dict)


class Ledger:
    """The file of one series; `ended` are its steps that ended, by subject."""

    def __init__(self, path: Path, command: tuple[str, ...]) -> None:
        self.path = path
        self.ended: dict[str, Ended] = {}
        self._command = command

    @classmethod
    def find(cls, results: Path, steps: Iterable[Step], command: tuple[str, ...]) -> Ledger:
        """The ledger of these steps with these options, with what stands in it.

        One that cannot be read, or of which every step passed, is begun anew.
        """
        steps = list(steps)
        words = json.dumps([[step.subject, *step.options.words()] for step in steps])
        key = hashlib.sha256(words.encode()).hexdigest()[:12]
        ledger = cls(results / FOLDER / f"{key}.json", command)
        try:
            kept = read(_Kept, json.loads(ledger.path.read_bytes()))
        except (OSError, ValueError):
            return ledger
        passed = [name for name, ended in kept.steps.items() if ended.passed]
        if {step.subject for step in steps} - {*passed}:
            ledger.ended = dict(kept.steps)
        return ledger

    def note(self, step: Step, ended: Ended) -> None:
        """Keep how a step ended, whole, before the next one starts."""
        self.ended[step.subject] = ended
        steps = {name: asdict(one) for name, one in self.ended.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, {"command": list(self._command), "steps": steps})
