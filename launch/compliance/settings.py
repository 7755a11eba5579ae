"""LoadGen settings that a compliance test overrides.

Values from the MLPerf inference compliance suite (compliance/TEST01/resnet50/audit.config and
compliance/TEST04/audit.config); LoadGen's format is ``model.scenario.key = value``.
"""

from __future__ import annotations

from difflib import get_close_matches

from base.errors import InputError
from loadrun.scenarios import SCENARIOS

AUDITS: dict[str, dict[str, int]] = {
    # Accuracy in performance mode: the responses of a random subset are logged.
    "TEST01": {
        "*.*.mode": 2,
        "*.*.accuracy_log_rng_seed": 720381539243781796,
        "*.*.accuracy_log_sampling_target": 4096,
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


def audit_config(name: str) -> str:
    """The audit.config of the compliance test `name`; InputError with the nearest name."""
    settings = AUDITS.get(name.upper())
    if settings is None:
        near = get_close_matches(name.upper(), AUDITS, 1, 0.0)
        raise InputError(f"unknown audit '{name}' (nearest: {near[0]}; known: {', '.join(AUDITS)})")
    return "".join(f"{key} = {value}\n" for key, value in settings.items())
