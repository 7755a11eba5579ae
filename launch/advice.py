"""What to try next, told by the record of a finished run."""

from __future__ import annotations

from typing import Any

from launch.announcement import SERVED_IMAGES
from launch.assets import WITHOUT_ARTIFACT
from loadrun.scenarios import MODES, SCENARIOS

MOST = 3
"""More than this is not read."""
HEADROOM = 0.7
"""Share of Server's latency limit below which its percentile leaves room for a higher rate."""


def advice(record: dict[str, Any]) -> list[str]:
    """Commands and options to try next, what helps most first; at most three.

    Cures of what made a run INVALID stand with the reasons and are not repeated.
    """
    if not MODES[record["mode"]].performance or record.get("audit"):
        return [*_calibrate(record)]
    return [
        *_doctor(record),
        *_calibrate(record),
        *_find_qps(record),
        *_tune(record),
    ][:MOST]


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
    if not SCENARIOS[record["scenario"]].scheduled or record["engine"] in WITHOUT_ARTIFACT:
        return []
    command = f"loadrun find-qps {record['model']}"
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
    command = f"loadrun tune {record['model']} --scenario {record['scenario'].lower()}"
    return [f"{command}: the best instances, cores and batch size here"]
