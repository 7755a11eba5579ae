"""What a round asks of a submission of a benchmark: scenarios, compliance tests, layout.

Sources: MLCommons' inference policies and tools/submission/submission_checker/constants.py of
mlcommons/inference.
"""

from __future__ import annotations

from base.errors import InputError
from loadrun.scenarios import MULTI_STREAM, OFFLINE, SERVER, SINGLE_STREAM

TESTS = ("TEST01", "TEST04")
"""Compliance tests of image classification, for the closed division."""
EDGE = (SINGLE_STREAM.name, MULTI_STREAM.name, OFFLINE.name)
DATACENTER = (SERVER.name, OFFLINE.name)
SYSTEM_TYPES = ("edge", "datacenter", "datacenter,edge", "edge,datacenter")
DIVISIONS = ("closed", "open")
BENCHMARKS = ("resnet50",)
"""Models that are a benchmark of the closed division."""
LAST_DATACENTER_ROUND = "v5.0"
"""Later rounds have ResNet-50 in the edge category only."""


def scenarios(system_type: str) -> tuple[str, ...]:
    """Return the scenarios of a category, all of which a closed result needs."""
    categories = system_type.split(",")
    wanted = [*(EDGE if "edge" in categories else ())]
    wanted += DATACENTER if "datacenter" in categories else ()
    return tuple(dict.fromkeys(wanted))


def check_category(system_type: str, round: str) -> None:
    """Raise InputError for a category of the closed division that has no ResNet-50."""
    if "datacenter" in system_type.split(",") and number(round) > number(LAST_DATACENTER_ROUND):
        raise InputError(
            f"round {round} has ResNet-50 in the edge category only: system_type must be edge, not"
            f" {system_type} (--round {LAST_DATACENTER_ROUND} was the last with datacenter)"
        )


def number(round: str) -> tuple[int, ...]:
    """Return a round's name as something that can be compared."""
    return tuple(int(part) for part in round.removeprefix("v").split("."))
