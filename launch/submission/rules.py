"""What a round asks of a submission of a benchmark: category, scenarios, layout.

Sources: MLCommons' inference policies and tools/submission/submission_checker/constants.py of
mlcommons/inference.
"""

from __future__ import annotations

import models
from base.errors import InputError
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


def tests(division: str, benchmark: Benchmark) -> tuple[str, ...]:
    """Return the compliance tests that a result of the benchmark needs."""
    return benchmark.audits if division == CLOSED else ()


def closed() -> list[str]:
    """Return the names of the models that are benchmarks of the closed division."""
    names = dict.fromkeys(map(models.canonical, models.choices()))
    return [name for name in names if models.benchmark(name).categories]


def check_category(system_type: str, round: str, benchmark: Benchmark) -> None:
    """Raise InputError for a category of the closed division that has no such benchmark."""
    having = [name for name, last in benchmark.categories.items() if number(round) <= number(last)]
    if all(category in having for category in system_type.split(",")):
        return
    lasts = benchmark.categories
    if not having:
        latest = max(lasts.values(), key=number)
        raise InputError(
            f"round {round} has no {benchmark.name} (--round {latest} was the last with it);"
            " division open takes it"
        )
    lacking = next(category for category in system_type.split(",") if category not in having)
    last = f" (--round {lasts[lacking]} was the last with {lacking})" if lacking in lasts else ""
    raise InputError(
        f"round {round} has {benchmark.name} in the {having[0]} category only: system_type must be"
        f" {having[0]}, not {system_type}{last}"
    )


def number(round: str) -> tuple[int, ...]:
    """Return a round's name as something that can be compared."""
    return tuple(int(part) for part in round.removeprefix("v").split("."))
