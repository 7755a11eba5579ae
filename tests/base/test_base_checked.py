"""JSON objects as dataclasses: what fits is read and written again, what does not is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest

from base.checked import FLAT, LATER, REST, ShapeError, read, written


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Point:
    x: float
    colour: Colour = Colour.RED


@dataclass(frozen=True)
class Part:
    first: int | None = None
    second: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Options:
    name: str
    more: Mapping[str, Any] = field(default_factory=dict, metadata=REST)


@dataclass(frozen=True, kw_only=True)
class Whole:
    size: int
    options: Options = field(metadata=FLAT)
    part: Part = field(default_factory=Part, metadata=FLAT)
    points: tuple[Point, ...] = ()
    named: Mapping[str, Point | None] = field(default_factory=dict)
    pairs: tuple[tuple[int, float], ...] = ()
    lists: dict[str, list[int]] = field(default_factory=dict)
    note: str | None = None
    found: Point | None = field(default=None, metadata=LATER)


FULL = {
    "size": 3,
    "name": "a",
    "extra": {"any": [1, None]},
    "first": None,
    "second": [1, 2],
    "points": [{"x": 1, "colour": "blue"}, {"x": 2.5, "colour": "red"}],
    "named": {"a": {"x": 0.0, "colour": "red"}, "b": None},
    "pairs": [[1, 2.0]],
    "lists": {"l": [1]},
    "note": None,
    "found": {"x": 9, "colour": "red"},
}


def test_what_was_read_is_written_again() -> None:
    whole = read(Whole, FULL)
    assert whole.options == Options(name="a", more={"extra": {"any": [1, None]}})
    assert whole.part == Part(None, (1, 2))
    assert whole.points[0] == Point(1, Colour.BLUE)
    assert whole.named == {"a": Point(0.0), "b": None}
    assert whole.pairs == ((1, 2.0),)
    assert written(whole) == FULL
    assert type(written(whole)["points"][0]["colour"]) is str


def test_absent_fields_have_defaults_which_are_not_written() -> None:
    least = read(Whole, {"size": 3, "name": "a"})
    assert least == Whole(size=3, options=Options(name="a"))
    assert written(least) == {
        "size": 3,
        "name": "a",
        "points": [],
        "named": {},
        "pairs": [],
        "lists": {},
        "note": None,
    }
    nulls = {"points": None, "second": None, "lists": None, "found": None}
    assert read(Whole, {"size": 3, "name": "a", **nulls}) == least


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"size": None}, "size is None; expected int"),
        ({"name": 3}, "name is 3; expected str"),
        ({"second": [1, "2"]}, "second is [1, '2']; expected tuple[int, ...]"),
        ({"points": [{"x": 1}, {"x": "1"}]}, "points[1].x is '1'; expected float"),
        ({"points": [{"x": 1, "colour": "green"}]}, "points[0].colour is 'green'; expected red or"),
        ({"points": {"x": 1}}, "points is {'x': 1}; expected tuple["),
        ({"named": {"a": {}}}, "missing key 'named.a.x'"),
        ({"named": []}, "named is []; expected"),
        ({"pairs": [[1]]}, "pairs is [[1]]; expected"),
        ({"lists": {"l": [1.5]}}, "lists is {'l': [1.5]}; expected"),
        ({"found": 3}, "found must be an object"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(ShapeError) as caught:
        read(Whole, {**FULL, **change})
    assert str(caught.value).startswith(expected)


def test_missing_keys_are_named_also_of_flattened_fields() -> None:
    with pytest.raises(ShapeError, match="missing key 'name'"):
        read(Whole, {"size": 3})
    with pytest.raises(ShapeError, match="the record must be an object"):
        read(Whole, [FULL], "the record")


def test_the_strict_take_neither_unknown_keys_nor_null_for_a_default() -> None:
    assert read(Point, {"x": 1, "y": 2, "colour": None}) == Point(1)
    with pytest.raises(ShapeError, match=r"unknown key 'colur' \(nearest: colour\)"):
        read(Point, {"x": 1, "colur": "red"}, strict=True)
    with pytest.raises(ShapeError, match="colour is None"):
        read(Point, {"x": 1, "colour": None}, strict=True)
