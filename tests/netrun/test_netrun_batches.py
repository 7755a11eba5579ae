"""How batches of each size are run, decided from the times that they take as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netrun.engines.onednn.batches import (
    WORTH,
    interpolated,
    measured_sizes,
    plan,
    planned,
)

TIMES = st.lists(st.floats(1, 1000), min_size=1, max_size=24)


def test_batches_run_as_they_are_where_nothing_is_gained() -> None:
    assert plan([6.0, 11.0, 16.0, 21.0]) == [[1], [2], [3], [4]]


def test_a_slow_size_is_filled_up_to_a_larger_one() -> None:
    assert plan([6.0, 11.0, 29.0, 15.0]) == [[1], [2], [4], [4]]


def test_a_slow_size_goes_in_parts() -> None:
    assert plan([6.0, 11.0, 16.0, 100.0]) == [[1], [2], [3], [1, 3]]


def test_a_difference_within_the_noise_changes_nothing() -> None:
    assert plan([10.0, 19.9, 29.0, 28.0]) == [[1], [2], [3], [4]]


def test_a_slow_size_goes_in_parts_of_which_one_is_filled() -> None:
    assert plan([2.0, 1.0, 3.0, 3.0]) == [[2], [2], [2, 2], [2, 2]]


@given(TIMES)
def test_every_sample_runs_and_no_part_is_filled_alone(times: list[float]) -> None:
    for batch, sizes in enumerate(plan(times), start=1):
        assert sum(sizes) - max(sizes) < batch <= sum(sizes)
        assert max(sizes) <= len(times)


@given(TIMES)
def test_no_batch_takes_longer_than_a_larger_one_but_for_noise(times: list[float]) -> None:
    found = planned(times, plan(times))
    for batch, took in enumerate(found):
        assert took * WORTH <= min(found[batch:]) * (1 + 1e-9)
        assert took <= times[batch]


@pytest.mark.parametrize("most", [1, 2, 16, 17, 33, 100, 256])
def test_few_sizes_are_measured_the_first_and_the_last_among_them(most: int) -> None:
    sizes = measured_sizes(most)
    assert sizes == sorted(set(sizes))
    assert sizes[0] == 1
    assert sizes[-1] == most
    assert len(sizes) <= 16 + 8 * 4 + 1
    assert sizes[:16] == list(range(1, min(most, 16) + 1))


def test_times_between_are_interpolated() -> None:
    assert interpolated({1: 1.0, 2: 2.0, 4: 8.0}, 4) == [1.0, 2.0, 5.0, 8.0]
    assert interpolated({1: 3.0}, 1) == [3.0]
