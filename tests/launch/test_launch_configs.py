"""What options become in LoadGen's settings."""

from __future__ import annotations

import pytest

from launch.cli import Parser
from launch.commands.run import add_arguments, read_options
from launch.configs import overrides, warmup_s
from launch.options import RunOptions
from loadrun.config import Overrides


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", Overrides()),
        ("--fast", Overrides(min_duration_s=60, min_query_count=1)),
        ("--time 7", Overrides(min_duration_s=7)),
        ("--count 9", Overrides(min_duration_s=0, min_query_count=9, max_query_count=0)),
        ("--count 9 --fast", Overrides(min_duration_s=0, min_query_count=9, max_query_count=0)),
        ("--count 9 --time 7", Overrides(min_duration_s=7, min_query_count=9, max_query_count=9)),
        ("--count 9 --mode AccuracyOnly", Overrides()),
        ("--min-duration 7", Overrides(min_duration_s=0.007)),
        ("--min-query-count 9", Overrides(min_query_count=9)),
        ("--fast --min-query-count 9", Overrides(min_duration_s=60, min_query_count=9)),
        ("--qps 5", Overrides(target_qps=5)),
    ],
)
def test_overrides_of_options(words: str, expected: Overrides) -> None:
    assert overrides(options(words)) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", 2.0),
        ("--fast", 2.0),
        ("--time 4", 0.8),
        ("--time 1", 0.5),
        ("--count 9", 0.5),
        ("--mode AccuracyOnly", 0.5),
    ],
)
def test_rates_are_measured_for_less_before_short_tests(words: str, expected: float) -> None:
    assert warmup_s(options(words)) == pytest.approx(expected)


def options(words: str) -> RunOptions:
    parser = Parser()
    add_arguments(parser)
    return read_options(parser.parse_args(["resnet50", *words.split()]))
