"""What a run would use now, and why one that is there does not do instead."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from pathlib import Path

import models
from launch.build.prepare import task_sources
from launch.compliance.references import ACCURACY, PLANNED, difference, may_be_short
from launch.configs import overrides
from launch.machine.host import Host
from launch.options import RunOptions
from launch.outcome.record.assets import WeightsRecord
from launch.outcome.record.run import Record
from launch.run import planned_record
from launch.screen.announcement import CALIBRATED_ON_SERVED
from loadrun.scenarios import SCENARIOS
from loadrun.user_conf import parse_user_conf
from netrun.engines.order import weights_hash

MEMORY_SHARE = 0.02
"""By so much the memory of one machine differs from start to start: the kernel keeps some."""
CURABLE = ("--fast", "--count", "minimum ", "at most ")
"""How reasons against a result begin that a run with other options cures."""


class Present:
    """The runs of one model and scenario as they would be now."""

    def __init__(self, options: RunOptions) -> None:
        self._options = options
        self._planned = planned_record(options)
        self._task = models.get(options.model)
        sources = options.sources
        self._weights = weights_hash(sources.weights) if sources.weights else None
        # A bound that the user set makes LoadGen log an error, and lowers Offline's target.
        self._shortened = overrides(options) != overrides(
            replace(options, fast=False, count=None, time_s=None, min_query_count=None)
        )
        self._target = None if self._shortened else _asked_target(options)

    @functools.cached_property
    def _data(self) -> str | None:
        # Only where a run is there, after which the data need not be read anew.
        sources = self._options.sources
        if sources.served is None:
            return None
        return self._task.data(task_sources(sources)).sha256

    @functools.cached_property
    def _calibration(self) -> str | None:
        sources = self._options.sources
        if sources.calibration is None:
            return None
        return self._task.calibration(task_sources(sources)).sha256

    def why_not(self, record: Record | None, run: str) -> str:
        """Return why a run of that name does not do, "" where it does."""
        if record is None:
            return "not there"
        return self.mismatch(record) or self._unfit(record, run)

    def other_target(self, record: Record | None) -> str:
        """Return a performance run's target in words where it is not today's, "" where it is."""
        if record is None or self._target is None:
            return ""
        target = SCENARIOS[self._options.scenario].target
        had = record.measured.target(SCENARIOS[self._options.scenario])
        if math.isclose(had, self._target, rel_tol=1e-4):
            return ""
        return f"of another {target.key} ({had:.6g}, now {self._target:.6g})"

    def mismatch(self, record: Record) -> str:
        """Return in what a run differs from one of now, "" where in nothing."""
        planned = self._planned
        had, has, assets = record.options, planned.options, record.assets
        if had.round != has.round:
            return f"of round {had.round or 'unknown'}"
        if had.engine != has.engine:
            return f"of engine {had.engine}"
        if had.precision != has.precision:
            return f"of precision {had.precision}"
        if not _from(assets.weights, self._weights):
            return "of other weights"
        if not _from(assets.data, self._data):
            return f"of other {self._task.items} or {self._task.truths}"
        used = assets.calibration
        if used is not None and self._calibration not in (None, assets.calibration_sha256):
            return f"calibrated on other {self._task.items} ({used})"
        if other := _other_machine(record.host, planned.host):
            return f"of another machine, {other}"
        differs = difference(record, planned, PLANNED)
        return f"of {differs}" if differs else ""

    def _unfit(self, record: Record, run: str) -> str:
        result = record.result
        if result is not None and result.valid is False and not may_be_short(run):
            return "INVALID"
        short = self._shortened or may_be_short(run)
        if result is not None and result.errors and not short:
            return "LoadGen logged an error"
        if run == ACCURACY and record.accuracy is None:
            return f"made without {self._task.truths}"
        if run == ACCURACY and record.doubtful:
            return "INVALID: its accuracy means nothing"
        for reason in record.unofficial_reasons or ():
            curable = () if self._shortened else CURABLE
            if self._options.sources.calibration:
                curable = (*curable, CALIBRATED_ON_SERVED)
            if reason.startswith(curable):
                return reason
        return ""


def _from(facts: WeightsRecord | None, sha256: str | None) -> bool:
    """Whether weights or data have that content, None being the synthetic ones."""
    if facts is None:
        return True
    if sha256 is None:
        return facts.synthetic
    return not facts.synthetic and facts.sha256 == sha256


def _other_machine(known: Host, here: Host) -> str:
    """Return the first fact in which two machines differ, "" where there is none."""
    for name, had, has in (
        ("architecture", known.architecture, here.architecture),
        ("processor", known.processor, here.processor),
        ("sockets", known.sockets, here.sockets),
        ("cores", known.cores, here.cores),
    ):
        if had != has:
            return f"{name} {had}"
    had, has = known.memory_bytes, here.memory_bytes
    return "" if abs(had - has) <= MEMORY_SHARE * has else f"{had / 2**30:.1f} GiB of memory"


def _asked_target(options: RunOptions) -> float | None:
    """Return what user.conf sets as the expected rate or latency; None: the warm-up sets it."""
    if options.user_conf is None:
        return None
    benchmark = models.benchmark(options.model).conf
    conf = parse_user_conf(Path(options.user_conf), models=(benchmark,))
    entry = conf.get(benchmark, options.scenario, SCENARIOS[options.scenario].target.key)
    return None if entry is None else float(entry.value)
