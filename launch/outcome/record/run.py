"""The record of a run as a whole, and how it is read from a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from base.checked import FLAT, LATER, ShapeError, read, written
from base.errors import InputError
from launch.machine.doctor.finding import Finding
from launch.machine.host import Host
from launch.outcome.record.assets import AssetsRecord
from launch.outcome.record.earlier import RunFacts, scenario_named
from launch.outcome.record.machine import PinningRecord, PlanRecord, Row
from launch.outcome.record.measured import AccuracyRecord, MeasuredRecord, ResultRecord
from launch.outcome.record.options import OptionsRecord
from launch.outcome.record.processes import ProcessesRecord
from launch.outcome.results import COMPLETE
from loadrun.clock import Phase
from loadrun.scenarios import Scenario

SCHEMA = 1
"""The version of the form. New keys are no new version; to change or drop one is."""


@dataclass(frozen=True)
class Timings:
    """Seconds: from the run's start until `prepared` and in `total`, of phases, of loadrun's."""

    prepared: float | None = field(default=None, metadata=LATER)
    phases: Mapping[str, float] | None = field(default=None, metadata=LATER)
    loadrun: Mapping[str, float] | None = field(default=None, metadata=LATER)
    total: float | None = field(default=None, metadata=LATER)


@dataclass(kw_only=True)
class Record:
    """Everything that shaped a run, and what came of it, whatever became of it.

    `schema` is the version of the form, `task` and `benchmark` the names of what ran,
    `compared_with` the run ids by mode of the runs that an
    audit is compared with, `clock` the phases whose times are the figure; the figures do not count
    where `times_count` is False. Parts that a run did not reach are empty or None.
    """

    schema: int
    run_id: str
    status: str
    error: str | None
    command: tuple[str, ...]
    started: str
    options: OptionsRecord = field(metadata=FLAT)
    task: str | None = field(default=None, metadata=LATER)
    benchmark: str | None = field(default=None, metadata=LATER)
    plan: PlanRecord
    pinning: PinningRecord
    host: Host
    environment: Mapping[str, str] | None = field(default=None, metadata=LATER)
    preloaded: tuple[str, ...] | None = field(default=None, metadata=LATER)
    topology: tuple[Row, ...] | None = field(default=None, metadata=LATER)
    versions: Mapping[str, str]
    timings_s: Timings
    compared_with: Mapping[str, str] | None = field(default=None, metadata=LATER)
    checks: tuple[Finding, ...] | None = field(default=None, metadata=LATER)
    assets: AssetsRecord = field(default_factory=AssetsRecord, metadata=FLAT)
    processes: ProcessesRecord = field(default_factory=ProcessesRecord, metadata=FLAT)
    measured: MeasuredRecord = field(default_factory=MeasuredRecord, metadata=FLAT)
    clock: tuple[Phase, ...] | None = field(default=None, metadata=LATER)
    times_count: bool | None = field(default=None, metadata=LATER)
    result: ResultRecord | None = field(default=None, metadata=LATER)
    accuracy: AccuracyRecord | None = field(default=None, metadata=LATER)
    official: bool | None = field(default=None, metadata=LATER)
    unofficial_reasons: tuple[str, ...] | None = field(default=None, metadata=LATER)
    history: tuple[RunFacts, ...] | None = field(default=None, metadata=LATER)

    @classmethod
    def from_json(cls, values: object) -> Record:
        """The record that JSON values hold; ShapeError names the key of what does not fit.

        Of a version that is newer than this one, it says so.
        """
        schema = values.get("schema") if isinstance(values, dict) else None
        if isinstance(schema, int) and schema > SCHEMA:
            raise ShapeError(
                f"schema is {schema}, from a newer loadrun; this one reads up to {SCHEMA}"
            )
        record = read(cls, values)
        if record.status == COMPLETE and record.result is None:
            raise ShapeError("missing key 'result'")
        return record

    def as_json(self) -> dict[str, Any]:
        """The record as run.json holds it."""
        found: dict[str, Any] = written(self)
        return found

    @property
    def scenario(self) -> Scenario:
        """The scenario; of a name that is none, the one with nothing special to show."""
        return scenario_named(self.options.scenario)

    @property
    def doubtful(self) -> bool:
        """Whether an accuracy was measured that means nothing."""
        return self.accuracy is not None and bool(self.accuracy.doubts)


def load(path: Path, cure: str) -> Record:
    """Read a run.json; InputError names the file, the key of what does not fit, and the cure."""
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {cure}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); {cure}") from None
    try:
        return Record.from_json(values)
    except ShapeError as error:
        raise InputError(f"{path}: not the record of a run ({error}); {cure}") from None
