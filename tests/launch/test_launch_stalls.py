"""What counts as a stall, with the time in the test's hands."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import psutil
import pytest

from launch.supervise.stalls import LONGEST_STEP_S, PATIENCE, Silence, is_stopped


@pytest.fixture
def sleeper() -> Iterator[psutil.Popen]:
    with psutil.Popen(["sleep", "60"], stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def looks(silence: Silence, seconds: float, heartbeat: int | None, batch_s: float | None) -> str:
    """The first verdict when looked at four times a second, empty for none."""
    start = getattr(silence, "test_clock", 0.0)
    for step in range(int(seconds * 4) + 1):
        silence.test_clock = start + step / 4  # type: ignore[attr-defined]
        if verdict := silence.look(start + step / 4, heartbeat, batch_s):
            return str(verdict)
    return ""


def test_signs_of_life_keep_a_process_alive(sleeper: psutil.Popen) -> None:
    silence = Silence(sleeper.pid, 2.0)
    for heartbeat in range(20):
        assert looks(silence, 1.5, heartbeat, 0.01) == ""
    assert looks(silence, 3.0, 19, 0.01) == "gave no sign of life for 2.0 s"


def test_a_batch_may_take_many_times_its_usual_time(sleeper: psutil.Popen) -> None:
    silence = Silence(sleeper.pid, 2.0)
    assert looks(silence, PATIENCE * 3.0 - 0.5, 1, 3.0) == ""
    assert looks(silence, 1.0, 1, 3.0).startswith("gave no sign of life")


def test_only_a_stop_counts_where_nothing_is_served(sleeper: psutil.Popen) -> None:
    silence = Silence(sleeper.pid, 2.0)
    assert looks(silence, 1000.0, None, None) == ""
    sleeper.suspend()
    while not is_stopped(sleeper.pid):
        pass
    assert looks(silence, 3.0, None, None) == "was stopped for 2.0 s"


def test_a_stop_that_ends_in_time_is_forgotten(sleeper: psutil.Popen) -> None:
    silence = Silence(sleeper.pid, 2.0)
    for _ in range(3):
        sleeper.suspend()
        while not is_stopped(sleeper.pid):
            pass
        assert looks(silence, 1.5, None, None) == ""
        sleeper.resume()
        while is_stopped(sleeper.pid):
            pass
        assert looks(silence, 0.5, None, None) == ""


def test_a_machine_that_slept_blames_nobody(sleeper: psutil.Popen) -> None:
    silence = Silence(sleeper.pid, LONGEST_STEP_S + 1.0)
    silence.look(0.0, 7, 0.01)
    assert silence.look(3600.0, 7, 0.01) is None
    assert silence.look(3600.25, 8, 0.01) is None


def test_a_process_that_is_gone_is_not_stopped() -> None:
    assert not is_stopped(2**30)
