"""What to try next, from the record of a finished run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from launch.build.assets import WITHOUT_ARTIFACT
from launch.machine.doctor.finding import Level
from launch.options import Sources
from launch.outcome.record.run import Record
from launch.screen.announcement import CALIBRATED_ON_SERVED
from loadrun.scenarios import MODES

MOST = 3
"""More than this is not read."""
SEARCHED = (
    *("--max-latency", "--engine", "--user-conf", "--results"),
    *(option.flag for option in Sources.options().values()),
)
"""Options that a search takes, too, and whose loss would make it a search for something else."""
HEADROOM = 0.7
"""Share of Server's latency limit below which its percentile leaves room for a higher rate."""


def advice(record: Record) -> list[str]:
    """Commands and options to try next, what helps most first; at most three.

    Cures of what made a run INVALID stand with the reasons and are not repeated.
    """
    if not MODES[record.options.mode].performance or record.options.audit:
        return [*_calibrate(record)]
    if record.times_count is False:
        # To be run again: nothing follows from its figures.
        return []
    return [
        *_doctor(record),
        *_calibrate(record),
        *_find_qps(record),
        *_tune(record),
    ][:MOST]


def _as_given(record: Record, options: Sequence[str]) -> str:
    """Those of the options that the run was given, to be appended to a command that follows it."""
    words = record.command
    found: list[str] = []
    for place, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in options:
            found += [word] if value else words[place : place + 2]
    return "".join(f" {shlex.quote(word)}" for word in found)


def _doctor(record: Record) -> list[str]:
    matter = [found.check for found in record.checks or () if found.level is Level.MATTERS]
    if not matter:
        return []
    return [f"loadrun doctor: what slows this machine ({', '.join(matter)})"]


def _calibrate(record: Record) -> list[str]:
    for reason in record.unofficial_reasons or ():
        if reason.startswith(CALIBRATED_ON_SERVED):
            items = reason.removeprefix(CALIBRATED_ON_SERVED)
            return [f"--calibration DIR: int8 ranges from {items} that are not served"]
    return []


def _find_qps(record: Record) -> list[str]:
    # Searched is what runs by default: find-qps has no --precision.
    options = record.options
    if not record.scenario.scheduled or options.engine in WITHOUT_ARTIFACT:
        return []
    if options.precision != "int8":
        return []
    command = f"loadrun find-qps {options.model}{_as_given(record, SEARCHED)}"
    if record.result is not None and record.result.valid is False:
        return [f"{command}: the highest rate that is VALID"]
    share = limit_share(record)
    if share is None or share >= HEADROOM:
        return []
    return [f"{command}: a higher rate (the latency is at {100 * share:.0f}% of its limit)"]


def limit_share(record: Record) -> float | None:
    """Server's latency at the percentile that counts, over its limit; None elsewhere."""
    measured, scenario = record.measured, record.scenario
    limit_ns, percentile = measured.setting(scenario.limit), measured.setting(scenario.percentile)
    if not limit_ns or not percentile or record.result is None:
        return None
    reached = record.result.latencies_ns.get(f"p{100 * percentile:g}")
    return None if reached is None else reached / limit_ns


def _tune(record: Record) -> list[str]:
    options = record.options
    if options.tuned or options.engine in WITHOUT_ARTIFACT:
        return []
    given = (*SEARCHED, "--precision")
    command = f"loadrun tune {options.model} --scenario {options.scenario.lower()}"
    command += _as_given(record, given if record.scenario.scheduled else given[1:])
    return [f"{command}: the best instances, cores and batch size here"]
