"""What a round asks of a submission of a benchmark: category, scenarios, layout.

Sources: MLCommons' inference policies and tools/submission/submission_checker/constants.py of
mlcommons/inference.
"""

from __future__ import annotations

import models
from base.errors import InputError
from launch.compliance.settings import tests_of
from loadrun.scenarios import MULTI_STREAM, OFFLINE, SERVER, SINGLE_STREAM
from models.task import Benchmark

EDGE = (SINGLE_STREAM.name, MULTI_STREAM.name, OFFLINE.name)
DATACENTER = (SERVER.name, OFFLINE.name)
SYSTEM_TYPES = ("edge", "datacenter", "datacenter,edge", "edge,datacenter")
CLOSED, OPEN = DIVISIONS = ("closed", "open")


def scenarios(system_type: str, benchmark: Benchmark) -> tuple[str, ...]:
    """Return the scenarios of a category, all of which a closed result of the benchmark needs."""
    categories = system_type.split(",")
    wanted = [*(EDGE if "edge" in categories else ())]
    wanted += DATACENTER if "datacenter" in categories else ()
    return tuple(name for name in dict.fromkeys(wanted) if name in benchmark.scenarios)


def tests(division: str, benchmark: Benchmark, round: str | None) -> tuple[str, ...]:
    """Return the compliance tests that a result of the benchmark needs in a round."""
    return tests_of(benchmark, round) if division == CLOSED else ()


def closed() -> list[str]:
    """Return the names of the models that are benchmarks of the closed division."""
    names = dict.fromkeys(map(models.canonical, models.choices()))
    return [name for name in names if models.benchmark(name).categories]


def check_category(system_type: str, round: str, benchmark: Benchmark) -> None:
    """Raise InputError for a category of the closed division that has no such benchmark."""
    spans = benchmark.categories
    having = [name for name, span in spans.items() if _within(round, span)]
    if all(category in having for category in system_type.split(",")):
        return
    if not having:
        latest = max(spans.values(), key=lambda span: number(span[1]))
        raise InputError(
            f"round {round} has no {benchmark.name} ({_nearest(round, latest, 'it')}); division"
            " open takes it"
        )
    lacking = next(category for category in system_type.split(",") if category not in having)
    other = f" ({_nearest(round, spans[lacking], lacking)})" if lacking in spans else ""
    raise InputError(
        f"round {round} has {benchmark.name} in the {having[0]} category only: system_type must be"
        f" {having[0]}, not {system_type}{other}"
    )


def _within(round: str, span: tuple[str, str]) -> bool:
    first, last = span
    return (not first or number(first) <= number(round)) and number(round) <= number(last)


def _nearest(round: str, span: tuple[str, str], what: str) -> str:
    first, last = span
    if number(round) > number(last):
        return f"--round {last} was the last with {what}"
    return f"--round {first} was the first with {what}"


def number(round: str) -> tuple[int, ...]:
    """Return a round's name as something that can be compared."""
    return tuple(int(part) for part in round.removeprefix("v").split("."))
