"""The runs that a submission consists of, and which of them are there already."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launch.compliance.folder import folder_of
from launch.compliance.references import (
    ACCURACY,
    PERFORMANCE,
    difference,
    find_reference,
)
from launch.compliance.rules import PASS
from launch.configs import overrides
from launch.host import host
from launch.options import RunOptions
from launch.topology import read_topology

OFFICIAL_S = 600.0
"""Least seconds of an official performance test."""
AROUND_S = 10.0
"""What preparing, warming up and writing add to a test, in s."""
MACHINE = ("architecture", "processor", "sockets", "cores", "memory_bytes")
"""Facts of a host that tell machines apart."""
CURABLE = ("--fast", "--count", "minimum ", "at most ")
"""How reasons against a result begin that a run with other options cures."""


@dataclass(frozen=True)
class Step:
    """One run; `options` are those of the test it is compared with where it is an audit.

    `missing` says why it has to be made, "" where it is there.
    """

    options: RunOptions
    missing: str

    @property
    def name(self) -> str:
        """What runs: a mode, or a compliance test."""
        return self.options.audit or self.options.mode

    @property
    def subject(self) -> str:
        """Model, scenario and what runs."""
        return f"{self.options.model} {self.options.scenario} {self.name}"


def find_steps(options: RunOptions, tests: tuple[str, ...]) -> list[Step]:
    """Return the runs of one model and scenario, in the order in which they are to be made."""
    steps: list[Step] = []
    here = host(read_topology())
    performance = replace(options, mode=PERFORMANCE)
    reference = find_reference(performance, PERFORMANCE)
    steps.append(Step(performance, _why_not(performance, reference, here)))
    accuracy = replace(options, mode=ACCURACY)
    measured = find_reference(accuracy, ACCURACY)
    steps.append(Step(accuracy, _why_not(accuracy, measured, here) or _unlike(reference, measured)))
    for test in tests:
        audit = replace(options, mode=PERFORMANCE, audit=test)
        record = find_reference(audit, PERFORMANCE)
        missing = _why_not(audit, record, here) or _unlike(reference, record)
        if not missing and any(step.missing for step in steps[:2]):
            missing = "what it is compared with is made anew"
        steps.append(Step(audit, missing or _verdict(audit, reference, record)))
    return steps


def estimate_s(step: Step, rate: float | None, images: int | None) -> float | None:
    """Return how long a run takes, in s; None where it cannot be said.

    `rate` is samples/s of the model on this machine and `images` the size of the data set, as far
    as they are known.
    """
    if step.options.mode == ACCURACY:
        return None if rate is None or images is None else AROUND_S + images / rate
    changed = overrides(step.options)
    if changed.min_duration_s == 0:
        count = changed.min_query_count
        return None if rate is None or count is None else AROUND_S + count / rate
    return AROUND_S + (OFFICIAL_S if changed.min_duration_s is None else changed.min_duration_s)


def _why_not(options: RunOptions, record: dict[str, Any] | None, here: dict[str, object]) -> str:
    """Return why a run's results do not do for these options on this host, "" where they do."""
    if record is None:
        return "not there"
    if record.get("round") != options.round:
        return f"of round {record.get('round') or 'unknown'}"
    for key in ("engine", "precision"):
        if record.get(key) != getattr(options, key):
            return f"of {key} {record.get(key)}"
    for key, source in (("weights", options.sources.weights), ("data", options.sources.images)):
        if not _from(record.get(key), source):
            return f"of other {'weights' if key == 'weights' else 'images'}"
    known = record["host"]
    if any(known.get(fact) != here[fact] for fact in MACHINE):
        return f"of another machine, {known.get('processor')}"
    if record["result"]["valid"] is False:
        return "INVALID"
    shortened = overrides(options) != overrides(
        replace(options, fast=False, count=None, time_s=None)
    )
    for reason in record.get("unofficial_reasons", []):
        if not shortened and reason.startswith(CURABLE):
            return str(reason)
    return ""


def _from(facts: dict[str, Any] | None, source: Path | None) -> bool:
    """Whether weights or images come from `source`, None being the synthetic ones."""
    if facts is None:
        return True
    if source is None:
        return bool(facts["synthetic"])
    return not facts["synthetic"] and facts["name"] == source.name


def _unlike(reference: dict[str, Any] | None, record: dict[str, Any] | None) -> str:
    if reference is None or record is None:
        return ""
    differs = difference(reference, record)
    return f"the performance run has {differs}" if differs else ""


def _verdict(
    audit: RunOptions, reference: dict[str, Any] | None, record: dict[str, Any] | None
) -> str:
    """Return why an audit run does not stand for a test passed, "" where it does."""
    assert audit.audit is not None
    if reference is None or record is None or record["started"] < reference["started"]:
        return "older than the performance run"
    folder = folder_of(audit.results, audit.model, audit.scenario, audit.audit)
    try:
        verdicts = [path.read_text() for path in sorted(folder.glob("verify_*.txt"))]
    except OSError:
        verdicts = []
    if not verdicts:
        return "not judged"
    return "" if all(PASS in verdict for verdict in verdicts) else "FAIL"


def known_rate(options: RunOptions) -> float | None:
    """Return samples/s of the model as an earlier run here measured it, None where none did."""
    for scenario in ("Offline", "Server", "MultiStream", "SingleStream"):
        for mode in (PERFORMANCE, ACCURACY):
            record = find_reference(replace(options, scenario=scenario, audit=None), mode)
            if record is not None and record.get("standalone_rate"):
                return float(record["standalone_rate"])
    return None
