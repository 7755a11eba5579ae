"""What options become in LoadGen's settings."""

from __future__ import annotations

import pytest

from launch.cli import Parser
from launch.commands.run import add_arguments, read_options
from launch.configs import overrides
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
        ("--qps 5", Overrides(target_qps=5)),
    ],
)
def test_overrides_of_options(words: str, expected: Overrides) -> None:
    parser = Parser()
    add_arguments(parser)
    assert overrides(read_options(parser.parse_args(["resnet50", *words.split()]))) == expected
