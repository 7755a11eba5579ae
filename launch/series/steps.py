"""Which runs a series consists of: benchmarks by scenarios by modes, and what is left out, why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import models
from launch.options import RunOptions
from launch.series.benchmarks import benchmarks_of
from launch.submission import rules
from loadrun.scenarios import MODES, PERFORMANCE_ONLY, SCENARIOS
from models.task import Benchmark


@dataclass(frozen=True)
class Step:
    """One run, or with `tests` the compliance tests of a benchmark and scenario."""

    options: RunOptions
    tests: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """Benchmark, scenario and what runs."""
        options = self.options
        what = ", ".join(self.tests) or options.mode
        return f"{options.model} {options.scenario} {what}"


@dataclass(frozen=True)
class Wanted:
    """What was asked for, each in its own order; no `scenarios` are all official ones."""

    benchmarks: tuple[str, ...]
    config_vers: tuple[str, ...]
    scenarios: tuple[str, ...]
    modes: tuple[str, ...]
    audits: bool
    round: str | None


def find_steps(
    wanted: Wanted, options: Callable[[str, str, str], RunOptions]
) -> tuple[list[Step], list[str]]:
    """Return the steps, and a line for each combination that there is not.

    `options` gives the options of a model, scenario and mode; it may raise LoadrunError, as may
    an unknown benchmark.
    """
    steps: dict[str, Step] = {}
    names, left_out = benchmarks_of(wanted.benchmarks, wanted.config_vers)
    for model in names:
        benchmark = models.benchmark(model)
        for scenario in wanted.scenarios or benchmark.scenarios:
            if scenario not in benchmark.scenarios:
                left_out.append(f"{model} {scenario}: no scenario of this benchmark")
                continue
            for mode in _modes(wanted, model, benchmark, scenario, left_out):
                tests = rules.tests(rules.CLOSED, benchmark, wanted.round) if wanted.audits else ()
                step = Step(options(model, scenario, mode), tests)
                steps.setdefault(step.subject, step)
    return list(steps.values()), left_out


def _modes(
    wanted: Wanted, model: str, benchmark: Benchmark, scenario: str, left_out: list[str]
) -> Iterator[str]:
    if wanted.audits:
        if rules.tests(rules.CLOSED, benchmark, wanted.round):
            yield PERFORMANCE_ONLY.name
        else:
            left_out.append(f"{model} {scenario}: this benchmark has no compliance tests")
        return
    for mode in wanted.modes:
        if MODES[mode].searches and not SCENARIOS[scenario].scheduled:
            left_out.append(f"{model} {scenario} {mode}: is for Server only")
        else:
            yield mode


def tasks_of(names: Sequence[str]) -> list[str]:
    """The names of the tasks that benchmarks or tasks of these names are of, each once."""
    return list(dict.fromkeys(models.get(name).name for name in names))
