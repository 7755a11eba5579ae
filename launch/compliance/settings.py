"""LoadGen settings that a compliance test overrides.

Values from the MLPerf inference compliance suite (compliance/TEST01/<benchmark>/audit.config,
compliance/TEST04/audit.config, in older releases compliance/nvidia/TEST05/audit.config); LoadGen's
format is ``model.scenario.key = value``.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from base.errors import InputError
from loadrun.rounds import AUDIT_SEEDS
from loadrun.scenarios import SCENARIOS

if TYPE_CHECKING:
    from models.task import Benchmark

ANSWERS_TEST = "TEST01"
"""Logs answers of a performance run: as many as the benchmark says."""
CACHE_TEST = "TEST04"
SEEDS_TEST = "TEST05"
"""With other seeds: what was prepared for those that are published must be no faster."""
AUDITS: dict[str, dict[str, int]] = {
    # Accuracy in performance mode: the responses of a random subset are logged.
    ANSWERS_TEST: {
        "*.*.mode": 2,
        "*.*.accuracy_log_rng_seed": 720381539243781796,
    },
    # No caching: the same sample again and again must be no faster.
    CACHE_TEST: {
        f"*.{scenario}.{key}": value
        for scenario in SCENARIOS
        for key, value in (
            ("mode", 2),
            ("performance_issue_unique", 0),
            ("performance_issue_same", 1),
            ("performance_issue_same_index", 3),
        )
    },
    SEEDS_TEST: {"*.*.mode": 2},
}


def tests_of(benchmark: Benchmark, round: str | None) -> tuple[str, ...]:
    """The compliance tests of a benchmark in a round; None is the newest.

    TEST05 was asked of every benchmark in the rounds that had it.
    """
    return benchmark.audits + ((SEEDS_TEST,) if round in AUDIT_SEEDS else ())


def parse_audit(name: str) -> str:
    """The name of the compliance test that `name` means; InputError with the nearest one."""
    if name.upper() not in AUDITS:
        near = get_close_matches(name.upper(), AUDITS, 1, 0.0)
        raise InputError(f"unknown audit '{name}' (nearest: {near[0]}; known: {', '.join(AUDITS)})")
    return name.upper()


def check_round(test: str, round: str | None) -> None:
    """Raise InputError for a compliance test that needs a round, or another one."""
    if test == SEEDS_TEST and round not in AUDIT_SEEDS:
        given = f"round {round} has none" if round else "its seeds are a round's"
        raise InputError(f"{test}: {given}; give --round {', '.join(AUDIT_SEEDS)}")


def audit_config(name: str, benchmark: Benchmark, round: str | None = None) -> str:
    """The audit.config of the compliance test `name` for a benchmark in a round.

    InputError as parse_audit and check_round.
    """
    test = parse_audit(name)
    check_round(test, round)
    settings = AUDITS[test]
    if test == ANSWERS_TEST:
        settings = {**settings, "*.*.accuracy_log_sampling_target": benchmark.audit_samples}
    if test == SEEDS_TEST and round is not None:
        seeds = AUDIT_SEEDS[round]
        settings = {
            **settings,
            "*.*.qsl_rng_seed": seeds.qsl,
            "*.*.sample_index_rng_seed": seeds.sample_index,
            "*.*.schedule_rng_seed": seeds.schedule,
        }
    return "".join(f"{key} = {value}\n" for key, value in settings.items())
