"""How long instances may take to be ready, with the time in the test's hands."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from loadrun import serving
from loadrun.config import LoadrunConfig
from loadrun.serving import InstanceError, RingServing
from shm.arena import ArenaField, ArenaLayout
from shm.control import ControlBlock, InstanceState

LIMIT_S = 30.0


@pytest.fixture
def rings(tmp_path: object) -> Iterator[RingServing]:
    config = LoadrunConfig(
        run_id=f"ready{os.getpid()}",
        model="resnet50",
        scenario="Offline",
        mode="PerformanceOnly",
        log_dir=str(tmp_path),
        samples=str(tmp_path),
        sample_count=1,
        report=f"{tmp_path}/report.json",
        instances=2,
        batch_size=1,
        start_timeout_s=LIMIT_S,
    )
    made = RingServing(config, ArenaLayout(1, (ArenaField("number", "<i4", ()),)))
    yield made
    made.abort()


def each_second(
    monkeypatch: pytest.MonkeyPatch, happens: Callable[[int, ControlBlock], None]
) -> None:
    """Have a second pass whenever loadrun sleeps, and `happens` be called with it."""
    now = [0]

    def sleep(_: float) -> None:
        now[0] += 1
        with ControlBlock.attach(f"ready{os.getpid()}") as control:
            happens(now[0], control)

    clock = SimpleNamespace(monotonic=lambda: float(now[0]), sleep=sleep)
    monkeypatch.setattr(serving, "time", clock)


def test_a_warm_up_may_last_as_long_as_it_gives_signs_of_life(
    rings: RingServing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def happens(second: int, control: ControlBlock) -> None:
        control.instance(0).state = InstanceState.READY
        slow = control.instance(1)
        if second % 20 == 0:
            slow.heartbeat_ns = second
        slow.state = InstanceState.READY if second == 300 else InstanceState.LOADED
        slow.rate = 0.5

    each_second(monkeypatch, happens)
    assert rings.warm_up() == [0.0, 0.5]


def test_an_instance_that_gives_none_is_named(
    rings: RingServing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def happens(second: int, control: ControlBlock) -> None:
        control.instance(0).state = InstanceState.READY
        control.instance(1).heartbeat_ns = min(second, 40)
        assert second < 80

    each_second(monkeypatch, happens)
    with pytest.raises(InstanceError, match="instance 1 has not warmed up within 30 s"):
        rings.warm_up()
