"""LoadGen settings that a compliance test overrides.

Values from the MLPerf inference compliance suite (compliance/TEST01/<benchmark>/audit.config and
compliance/TEST04/audit.config); LoadGen's format is ``model.scenario.key = value``.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from base.errors import InputError
from loadrun.scenarios import SCENARIOS

if TYPE_CHECKING:
    from models.task import Benchmark

ANSWERS_TEST = "TEST01"
"""Logs answers of a performance run: as many as the benchmark says."""
AUDITS: dict[str, dict[str, int]] = {
    # Accuracy in performance mode: the responses of a random subset are logged.
    ANSWERS_TEST: {
        "*.*.mode": 2,
        "*.*.accuracy_log_rng_seed": 720381539243781796,
    },
    # No caching: the same sample again and again must be no faster.
    "TEST04": {
        f"*.{scenario}.{key}": value
        for scenario in SCENARIOS
        for key, value in (
            ("mode", 2),
            ("performance_issue_unique", 0),
            ("performance_issue_same", 1),
            ("performance_issue_same_index", 3),
        )
    },
}


def parse_audit(name: str) -> str:
    """The name of the compliance test that `name` means; InputError with the nearest one."""
    if name.upper() not in AUDITS:
        near = get_close_matches(name.upper(), AUDITS, 1, 0.0)
        raise InputError(f"unknown audit '{name}' (nearest: {near[0]}; known: {', '.join(AUDITS)})")
    return name.upper()


def audit_config(name: str, benchmark: Benchmark) -> str:
    """The audit.config of the compliance test `name` for a benchmark; InputError as parse_audit."""
    test = parse_audit(name)
    settings = AUDITS[test]
    if test == ANSWERS_TEST:
        settings = {**settings, "*.*.accuracy_log_sampling_target": benchmark.audit_samples}
    return "".join(f"{key} = {value}\n" for key, value in settings.items())
