"""What to try next, told by the record of a finished run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from launch.build.assets import WITHOUT_ARTIFACT
from launch.options import Sources
from launch.screen.announcement import SERVED_IMAGES
from loadrun.scenarios import MODES, SCENARIOS

MOST = 3
"""More than this is not read."""
SEARCHED = (
    *("--max-latency", "--engine", "--user-conf", "--results"),
    *(option.flag for option in Sources.options().values()),
)
"""Options that a search takes, too, and whose loss would make it a search for something else."""
HEADROOM = 0.7
"""Share of Server's latency limit below which its percentile leaves room for a higher rate."""


def advice(record: dict[str, Any]) -> list[str]:
    """Commands and options to try next, what helps most first; at most three.

    Cures of what made a run INVALID stand with the reasons and are not repeated.
    """
    if not MODES[record["mode"]].performance or record.get("audit"):
        return [*_calibrate(record)]
    if not record.get("times_count", True):
        # To be run again: nothing follows from its figures.
        return []
    return [
        *_doctor(record),
        *_calibrate(record),
        *_find_qps(record),
        *_tune(record),
    ][:MOST]


def _as_given(record: dict[str, Any], options: Sequence[str]) -> str:
    """Those of the options that the run was given, to be appended to a command that follows it."""
    words: list[str] = record.get("command") or []
    found: list[str] = []
    for place, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in options:
            found += [word] if value else words[place : place + 2]
    return "".join(f" {shlex.quote(word)}" for word in found)


def _doctor(record: dict[str, Any]) -> list[str]:
    matter = [check["check"] for check in record.get("checks", []) if check["level"] == "matters"]
    if not matter:
        return []
    return [f"loadrun doctor: what slows this machine ({', '.join(matter)})"]


def _calibrate(record: dict[str, Any]) -> list[str]:
    if SERVED_IMAGES not in record.get("unofficial_reasons", []):
        return []
    return ["--calibration DIR: int8 ranges from images that are not served"]


def _find_qps(record: dict[str, Any]) -> list[str]:
    # Searched is what runs by default: find-qps has no --precision.
    if not SCENARIOS[record["scenario"]].scheduled or record["engine"] in WITHOUT_ARTIFACT:
        return []
    if record.get("precision", "int8") != "int8":
        return []
    command = f"loadrun find-qps {record['model']}{_as_given(record, SEARCHED)}"
    if record["result"]["valid"] is False:
        return [f"{command}: the highest rate that is VALID"]
    share = limit_share(record)
    if share is None or share >= HEADROOM:
        return []
    return [f"{command}: a higher rate (the latency is at {100 * share:.0f}% of its limit)"]


def limit_share(record: dict[str, Any]) -> float | None:
    """Server's latency at the percentile that counts, over its limit; None elsewhere."""
    settings, scenario = record.get("settings") or {}, SCENARIOS[record["scenario"]]
    if scenario.limit is None or scenario.percentile is None:
        return None
    limit_ns, percentile = settings.get(scenario.limit), settings.get(scenario.percentile)
    if not limit_ns or not percentile:
        return None
    reached = record["result"]["latencies_ns"].get(f"p{100 * percentile:g}")
    return None if reached is None else float(reached / limit_ns)


def _tune(record: dict[str, Any]) -> list[str]:
    if record.get("tuned") or record["engine"] in WITHOUT_ARTIFACT:
        return []
    given = (*SEARCHED, "--precision")
    command = f"loadrun tune {record['model']} --scenario {record['scenario'].lower()}"
    command += _as_given(record, given if SCENARIOS[record["scenario"]].scheduled else given[1:])
    return [f"{command}: the best instances, cores and batch size here"]
