"""What a clock that was set and a run that stood still make of a result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from launch.outcome.timekeeping import Timekeeping, judge
from launch.supervise.standstill import Ticks, stood_still
from loadrun.clock import Phase

SECOND = 10**9


def judged(
    own: list[tuple[int, int]] | None = None, missed: bool = False, **seen: Any
) -> Timekeeping:
    return judge([Phase(**{"seconds": 12.0, **seen})], own or [], missed)


def test_a_test_like_any_other_is_not_spoken_of() -> None:
    assert judged() == Timekeeping()
    assert judged(drift_s=0.004, slew=4e-4) == Timekeeping()


@pytest.mark.parametrize("by_s", [20.0, -1.0, 3600.0, 0.05])
def test_a_step_makes_the_times_false(by_s: float) -> None:
    found = judged(steps=[(5.0, by_s)])
    [(reason, cure)] = found.spoils
    assert reason.startswith(f"the system clock was set by {by_s:+.3g} s after 5.0 s in a test of")
    assert "run again" in cure
    assert found.false_times


def test_steps_there_and_back_count_both() -> None:
    [(reason, _)] = judged(steps=[(1.0, 5.0), (2.0, -5.0)]).spoils
    assert "+5 s after 1.0 s, and 1 times more" in reason


def test_a_step_within_what_a_clock_may_drift_is_a_note() -> None:
    found = judged(seconds=600.0, steps=[(5.0, 0.2)])
    assert found.spoils == []
    [note] = found.notes
    assert "set by +0.2 s" in note
    assert "less than 0.05%" in note


@pytest.mark.parametrize("seen", [{"drift_s": -0.06}, {"slew": 0.02}])
def test_a_clock_that_ran_away_makes_the_times_false(seen: dict[str, float]) -> None:
    found = judge([replace(Phase(12.0), **seen)], [], missed=False)  # type: ignore[arg-type]
    assert len(found.spoils) == 1
    assert found.false_times


def test_what_held_up_both_processes_held_up_the_run() -> None:
    late = [(10 * SECOND, 18 * SECOND)]
    found = judged(own=[(9 * SECOND, 18 * SECOND)], seconds=20.0, late=late)
    [(reason, cure)] = found.spoils
    assert reason == "all processes stood still for 7.9 s of a test of 20 s"
    assert "paused container" in cure
    assert not found.false_times


@pytest.mark.parametrize(
    "own", [[], [(2 * SECOND, 9 * SECOND)], [(18 * SECOND, 30 * SECOND)]], ids=str
)
def test_what_held_up_one_of_them_is_no_standstill(own: list[tuple[int, int]]) -> None:
    assert judged(own=own, late=[(10 * SECOND, 18 * SECOND)]) == Timekeeping()


def test_a_short_standstill_of_a_long_test_is_a_note() -> None:
    own, late = [(9 * SECOND, 13 * SECOND)], [(10 * SECOND, 13 * SECOND)]
    found = judged(own=own, seconds=600.0, late=late)
    assert found.spoils == []
    assert "stood still for 2.9 s of a test of 10 min" in found.notes[0]
    # Where Server missed its limit, it may be why.
    assert len(judged(own=own, seconds=600.0, late=late, missed=True).spoils) == 1


def test_a_machine_that_was_suspended() -> None:
    [(reason, _)] = judged(suspended_s=8.0, seconds=12.0).spoils
    assert reason == "the machine was suspended for 8.0 s of a test of 20 s"


def test_ticks_are_late_by_what_was_expected_of_them() -> None:
    ticks = Ticks()
    for at_s, expected_s in ((1.0, 0.5), (1.5, 0.5), (1.6, 0.5), (2.3, 0.5), (3.0, 0.02)):
        ticks.tick(round(at_s * SECOND), expected_s)
    assert ticks.late == [(round(2.3 * SECOND), 3 * SECOND)]
    assert stood_still([], ticks.late) == []
