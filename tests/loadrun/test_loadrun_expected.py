"""How many samples a test will have: what LoadGen does with the same settings."""

from __future__ import annotations

from typing import Any

import pytest

from loadrun.config import LoadrunConfig, Overrides
from loadrun.expected import expected_samples
from loadrun.settings import build_settings


def expected(scenario: str, mode: str = "PerformanceOnly", **overrides: Any) -> int | None:
    config = LoadrunConfig(
        run_id="expected",
        model="resnet50",
        scenario=scenario,
        mode=mode,
        log_dir="unused",
        samples="unused",
        sample_count=500,
        report="unused",
        overrides=Overrides(**overrides),
    )
    return expected_samples(build_settings(config, measured_rate=100.0), config)


ENDLESS: dict[str, Any] = {"min_duration_s": 0, "min_query_count": 40, "max_query_count": 0}


@pytest.mark.parametrize(
    ("scenario", "overrides", "samples"),
    [
        # 1.1 * 60 s * 100 samples/s, and more than the fewest.
        ("Offline", {"min_duration_s": 60, "target_qps": 100, "min_query_count": 1}, 6600),
        ("Offline", {"min_duration_s": 60, "target_qps": 1, "min_query_count": 7000}, 7000),
        ("Server", {"min_duration_s": 60, "target_qps": 50, "min_query_count": 1}, 3000),
        ("Server", {"min_duration_s": 1, "target_qps": 50, "min_query_count": 300}, 300),
        ("Server", {"min_duration_s": 60, "target_qps": 50, "max_query_count": 1000}, 1000),
        ("SingleStream", ENDLESS, 40),
        ("MultiStream", ENDLESS, 320),
        # The clock ends it.
        ("SingleStream", {"min_duration_s": 60}, None),
        ("MultiStream", {"min_duration_s": 60}, None),
    ],
)
def test_samples_of_a_performance_test(
    scenario: str, overrides: dict[str, Any], samples: int | None
) -> None:
    assert expected(scenario, **overrides) == samples


def test_samples_of_the_other_modes() -> None:
    assert expected("Offline", "AccuracyOnly") == 500
    assert expected("SingleStream", "AccuracyOnly") == 500
    short = {"min_duration_s": 60, "target_qps": 100, "min_query_count": 1}
    assert expected("Offline", "SubmissionRun", **short) == 7100
    assert expected("SingleStream", "SubmissionRun", min_duration_s=60) is None
    assert expected("Server", "FindPeakPerformance", **short) is None
