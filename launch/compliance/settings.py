"""LoadGen settings that a compliance test overrides.

Values from the MLPerf inference compliance suite (compliance/TEST01/<benchmark>/audit.config,
compliance/TEST04/audit.config, in older releases TEST04-A, TEST04-B and TEST05 of
compliance/nvidia/); LoadGen's format is ``model.scenario.key = value``.
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
UNIQUE_TEST, SAME_TEST = CACHE_PAIR = ("TEST04-A", "TEST04-B")
"""Two runs in place of TEST04: every sample once, and the same one again and again."""
PAIR_ROUNDS = ("v1.1", "v2.0")
"""Those that have the pair."""
SEEDS_TEST = "TEST05"
"""With other seeds: what was prepared for those that are published must be no faster.

LoadGen takes seeds from no audit.config: `loadrun` sets them.
"""


def _issue(**settings: int) -> dict[str, int]:
    """Which samples a performance run issues, in every scenario."""
    return {
        f"*.{scenario}.{key}": value
        for scenario in SCENARIOS
        for key, value in {"mode": 2, **settings}.items()
    }


_SAME = _issue(performance_issue_unique=0, performance_issue_same=1, performance_issue_same_index=3)
AUDITS: dict[str, dict[str, int]] = {
    # Accuracy in performance mode: the responses of a random subset are logged.
    ANSWERS_TEST: {
        "*.*.mode": 2,
        "*.*.accuracy_log_rng_seed": 720381539243781796,
    },
    # No caching: the same sample again and again must be no faster.
    CACHE_TEST: _SAME,
    UNIQUE_TEST: _issue(performance_issue_unique=1, performance_issue_same=0),
    SAME_TEST: _SAME,
    SEEDS_TEST: {"*.*.mode": 2},
}


def tests_of(benchmark: Benchmark, round: str | None) -> tuple[str, ...]:
    """The compliance tests of a benchmark in a round; None is the newest.

    TEST05 was asked of every benchmark in the rounds that had it.
    """
    tests: list[str] = []
    for test in benchmark.audits:
        tests += CACHE_PAIR if test == CACHE_TEST and round in PAIR_ROUNDS else (test,)
    return (*tests, *((SEEDS_TEST,) if round in AUDIT_SEEDS else ()))


def parse_audits(names: str, round: str | None) -> list[str]:
    """The compliance tests that `names`, separated by commas, mean in a round, each once.

    Both of a pair where one is named. InputError as parse_audit and check_round.
    """
    tests: dict[str, None] = {}
    for name in names.split(","):
        test = parse_audit(name.strip())
        check_round(test, round)
        tests |= dict.fromkeys(CACHE_PAIR if test in CACHE_PAIR else (test,))
    return list(tests)


def parse_audit(name: str) -> str:
    """The name of the compliance test that `name` means; InputError with the nearest one."""
    if name.upper() not in AUDITS:
        near = get_close_matches(name.upper(), AUDITS, 1, 0.0)
        raise InputError(f"unknown audit '{name}' (nearest: {near[0]}; known: {', '.join(AUDITS)})")
    return name.upper()


def check_round(test: str, round: str | None) -> None:
    """Raise InputError for a compliance test that needs a round, or another one."""
    if test in CACHE_PAIR and round not in PAIR_ROUNDS:
        raise InputError(
            f"{test}: other rounds have {CACHE_TEST} in its place; give that, or --round"
            f" {', '.join(PAIR_ROUNDS)}"
        )
    if test == CACHE_TEST and round in PAIR_ROUNDS:
        raise InputError(f"{test}: round {round} has {' and '.join(CACHE_PAIR)} in its place")
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
    return "".join(f"{key} = {value}\n" for key, value in settings.items())
