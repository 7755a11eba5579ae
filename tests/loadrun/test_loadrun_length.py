"""Tests that take far longer than was asked for are refused with the reason and the cure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from loadrun_harness import make_config

from base.errors import TooLongError
from loadrun.config import LoadrunConfig, Overrides
from loadrun.durations import duration, took
from loadrun.length import check_length
from loadrun.settings import build_settings

__all__ = ["make_config"]  # fixture of this module
MakeConfig = Callable[..., LoadrunConfig]
OTHER_MACHINE = "resnet50.Offline.target_qps = 26000\nresnet50.Server.target_qps = 26000\n"


@pytest.fixture
def conf(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "user.conf"
        path.write_text(text)
        return str(path)

    return write


def refusal(config: LoadrunConfig, rate: float) -> str:
    with pytest.raises(TooLongError) as caught:
        check_length(build_settings(config, rate), config, rate)
    assert str(caught.value).endswith(", or give --yes to run it all the same")
    return str(caught.value)


@pytest.mark.parametrize(
    ("scenario", "hours", "asks"),
    [("Offline", "10 h 5 min", " asks for 17,160,000 samples"), ("Server", "9 h 10 min", "")],
)
def test_a_rate_of_another_machine(
    make_config: MakeConfig, conf: Callable[[str], str], scenario: str, hours: str, asks: str
) -> None:
    path = conf(OTHER_MACHINE)
    config = make_config(scenario=scenario, user_conf=path, overrides=Overrides())
    message = refusal(config, 473.0)
    assert message.startswith(f"expected duration {hours}, ")
    assert " times the 10 min asked for: " in message
    line = 1 if scenario == "Offline" else 2
    assert f"target_qps 26000 in {path}:{line}{asks}" in message
    assert "answer 473 samples/s; set it to about " in message
    assert "take the line out" in message


def test_a_rate_that_was_given(make_config: MakeConfig) -> None:
    config = make_config(overrides=Overrides(min_duration_s=60, target_qps=26000))
    message = refusal(config, 473.0)
    assert message.startswith("expected duration 1 h, 60.5 times the 1 min asked for: --qps 26000")
    assert "give --qps 520, or leave it out" in message


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        (
            "resnet50.*.min_query_count = 1000000\n",
            Overrides(),
            "at least 1,000,000 samples are asked for by min_query_count in {path}:1,",
        ),
        ("", Overrides(), "at least 24,576 samples are asked for by MLPerf's rules,"),
        (
            "",
            Overrides(min_duration_s=60, min_query_count=100_000, max_query_count=100_000),
            "at least 100,000 samples are asked for (--count),",
        ),
    ],
    ids=["user.conf", "the rules", "--count"],
)
def test_a_number_of_samples(
    make_config: MakeConfig,
    conf: Callable[[str], str],
    text: str,
    overrides: Overrides,
    expected: str,
) -> None:
    path = conf(text)
    config = make_config(user_conf=path, overrides=overrides)
    message = refusal(config, 5.0)
    assert expected.format(path=path) in message
    assert "--qps" not in message


def test_an_accuracy_test_that_a_low_rate_paces(
    make_config: MakeConfig, conf: Callable[[str], str]
) -> None:
    path = conf("resnet50.Server.target_qps = 1\n")
    config = make_config(
        scenario="Server", mode="AccuracyOnly", user_conf=path, sample_count=50_000
    )
    message = refusal(config, 473.0)
    assert message.startswith("expected duration 13 h 53 min, 473 times the 1 min 46 s that")
    assert f"target_qps 1 in {path}:1 sets the pace" in message


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({}, 473.0),
        ({"overrides": Overrides(min_duration_s=600, target_qps=1200)}, 473.0),
        ({"overrides": Overrides(min_duration_s=1, target_qps=10_000)}, 473.0),
        ({"overrides": Overrides(min_duration_s=0, min_query_count=10**7)}, 5.0),
        ({"mode": "AccuracyOnly", "sample_count": 50_000}, 1.0),
        ({"scenario": "Server", "mode": "AccuracyOnly", "sample_count": 50_000}, 1.0),
        ({"scenario": "Server", "mode": "FindPeakPerformance", "overrides": Overrides()}, 473.0),
        ({"scenario": "SingleStream", "overrides": Overrides()}, 5.0),
    ],
    ids=[
        "usual",
        "3 times",
        "a minute more",
        "a count alone",
        "all images",
        "no limit",
        "a search",
        "stream",
    ],
)
def test_others_are_run(make_config: MakeConfig, changes: dict[str, object], rate: float) -> None:
    config = make_config(**changes)
    check_length(build_settings(config, rate), config, rate)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3599.6, "1 h"),
        (36259, "10 h 4 min"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
    assert took(12.34) == "12.3 s"
    assert took(3 * seconds + 60) == duration(3 * seconds + 60)
