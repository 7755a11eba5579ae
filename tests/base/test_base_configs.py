"""Configurations travel as JSON and are refused in one line that names the key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from base.configs import Config
from base.errors import ConfigError, ExitCode


@dataclass(frozen=True)
class Times:
    first_ms: float
    more_ms: tuple[float, ...] = ()


@dataclass(frozen=True)
class SampleConfig(Config):
    name: str
    count: int
    processors: list[int] | None = None
    times: Times = field(default_factory=lambda: Times(1.0))
    whole: bool = True
    later: Times | None = None
    more: list[Times] = field(default_factory=list)
    words: Mapping[str, str] = field(default_factory=dict)


CONFIG = SampleConfig(
    *("a", 2, [0, 3], Times(0.5, (1.0, 2.0))),
    later=Times(2.0),
    more=[Times(3.0), Times(4.0, (5.0,))],
    words={"labels": "/labels.txt"},
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(CONFIG.to_json())
    assert SampleConfig.load(path) == CONFIG
    assert SampleConfig.from_json('{"name": "b", "count": 1}') == SampleConfig("b", 1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"cuont": 1}, "unknown key 'cuont' (nearest: count)"),
        ({"zzzz": 1}, "unknown key 'zzzz'"),
        ({"count": "2"}, "count is '2'; expected int"),
        ({"count": True}, "count is True; expected int"),
        ({"whole": 1}, "whole is 1; expected bool"),
        ({"processors": [0, "1"]}, "processors is [0, '1']; expected list[int] | None"),
        ({"times": 3}, "times must be an object"),
        ({"times": {}}, "missing key 'times.first_ms'"),
        ({"times": {"first_ms": None}}, "times.first_ms is None; expected float"),
        ({"times": {"first_ms": 1, "more": []}}, "unknown key 'times.more' (nearest: more_ms)"),
        ({"times": {"first_ms": 1, "more_ms": [True]}}, "times.more_ms is [True]"),
        ({"later": 3}, "later must be an object"),
        ({"later": {"first_ms": "1"}}, "later.first_ms is '1'; expected float"),
        ({"more": 3}, "more is 3; expected list["),
        ({"more": [{"first_ms": 1}, 3]}, "more[1] must be an object"),
        ({"more": [{"first_ms": 1, "last": 3}]}, "unknown key 'more[0].last'"),
        ({"words": []}, "words is []; expected "),
        ({"words": {"labels": 3}}, "words is {'labels': 3}; expected "),
    ],
)
def test_a_wrong_key_or_value_is_named(
    tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(CONFIG.to_json()), **change}))
    with pytest.raises(ConfigError) as caught:
        SampleConfig.load(path)
    assert str(caught.value).startswith(f"{path}: {expected}")
    assert caught.value.code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", "not JSON, so not a sample configuration"),
        (b"[]", "the configuration must be an object"),
        (b'{"name": "a"}', "missing key 'count'"),
        (b"\xff", "not a text file"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_file_that_holds_none_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        SampleConfig.load(path)
    assert str(caught.value).startswith(f"{path}: {expected}")
    path.unlink()
    with pytest.raises(ConfigError, match=f"cannot read {path}: No such file"):
        SampleConfig.load(path)
