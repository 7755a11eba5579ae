"""The clocks against each other, from readings made here, and once in a real loadrun process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from loadrun_harness import ROOT, MakeRun, make_config, make_run

from loadrun.clock import DRIFT, LATE_S, NOISE_S, TICK_S, Conduct, Phase, Reading, read
from loadrun.process import measured_phases

__all__ = ["make_config", "make_run"]  # fixtures of this module


class Clocks:
    """Clocks that go on tick by tick; each may go astray."""

    def __init__(self) -> None:
        self._now = [10**18, 5 * 10**12, 7 * 10**12, 6 * 10**12]
        self._conduct = Conduct(Reading(*self._now))

    def go(
        self,
        seconds: float,
        *,
        wall: float = 1.0,
        slew: float = 1.0,
        step_s: float = 0.0,
        asleep_s: float = 0.0,
    ) -> Clocks:
        """Go on for one reading: the wall clock at another rate or set, all slewed, or asleep."""
        went = round(1e9 * seconds)
        slewed = round(went * slew)
        slept = round(1e9 * asleep_s)
        self._now[0] += round(slewed * wall) + slept + round(1e9 * step_s)
        self._now[1] += slewed
        self._now[2] += slewed + slept
        self._now[3] += went
        self._conduct.see(Reading(*self._now))
        return self

    def tick(self, times: int, wall: float = 1.0, slew: float = 1.0) -> Clocks:
        for _ in range(times):
            self.go(TICK_S, wall=wall, slew=slew)
        return self

    @property
    def phase(self) -> Phase:
        return self._conduct.phase


def test_clocks_that_agree_show_nothing() -> None:
    phase = Clocks().tick(120).phase
    assert (phase.steps, phase.late) == ([], [])
    assert [phase.seconds, phase.slew, phase.drift_s, phase.suspended_s] == pytest.approx(
        [12.0, 0.0, 0.0, 0.0]
    )


@pytest.mark.parametrize("step_s", [20.0, 3600.0, -1.0, -20.0, 0.01, -0.01])
def test_a_step_is_seen_when_it_happens(step_s: float) -> None:
    phase = Clocks().tick(50).go(TICK_S, step_s=step_s).tick(69).phase
    [(at_s, by_s)] = phase.steps
    assert [at_s, by_s] == pytest.approx([5.1, step_s])
    assert phase.drift_s == pytest.approx(0.0, abs=1e-9)


def test_a_step_there_and_back_leaves_two() -> None:
    phase = Clocks().tick(5).go(TICK_S, step_s=5.0).tick(9).go(TICK_S, step_s=-5.0).tick(5).phase
    assert [round(by) for _, by in phase.steps] == [5, -5]


def test_a_disciplined_clock_drifts_and_takes_no_steps() -> None:
    phase = Clocks().tick(6000, wall=1 + 0.9 * DRIFT).phase
    assert phase.steps == []
    assert phase.drift_s == pytest.approx(600 * 0.9 * DRIFT, rel=1e-6)


def test_a_wall_clock_that_runs_away_slowly_adds_up() -> None:
    # Less than the noise of a reading at each tick.
    phase = Clocks().tick(120, wall=1 + 0.5 * NOISE_S / TICK_S).phase
    assert phase.steps == []
    assert phase.drift_s == pytest.approx(0.06)


def test_a_machine_that_slept_is_no_step() -> None:
    phase = Clocks().tick(10).go(TICK_S, asleep_s=8.0).tick(10).phase
    assert phase.suspended_s == pytest.approx(8.0)
    assert (phase.steps, phase.late) == ([], [])
    assert phase.seconds == pytest.approx(2.1)


def test_a_process_that_stood_still_has_a_late_tick() -> None:
    clocks = Clocks().tick(10).go(TICK_S + 0.9 * LATE_S)
    assert clocks.phase.late == []
    [(start, end)] = clocks.go(8.0).tick(3).phase.late
    assert end - start == pytest.approx(8e9)
    assert clocks.phase.steps == []


def test_a_slewed_clock_shows_against_the_raw_one() -> None:
    assert Clocks().tick(120, slew=1.02).phase.slew == pytest.approx(0.02)


def test_the_clocks_of_this_machine_can_be_read() -> None:
    first = read()
    conduct = Conduct(first)
    conduct.see(read())
    assert 0 < conduct.phase.seconds < 60
    assert first.width_ns > 0


def test_only_phases_whose_times_are_the_figure_count() -> None:
    phases = [Phase(1.0), Phase(2.0), Phase(3.0)]
    assert measured_phases(phases, "AccuracyOnly") == []
    assert measured_phases(phases, "SubmissionRun") == [Phase(3.0)]
    assert measured_phases(phases, "PerformanceOnly") == phases


STEPPED = """
import sys
from loadrun import clock, process
honest, start = clock.read, []

def read():
    reading = honest()
    start.append(reading.monotonic_ns)
    step = 20_000_000_000 * (reading.monotonic_ns - start[0] > 500_000_000)
    return clock.Reading(
        reading.real_ns + step, reading.monotonic_ns, reading.boot_ns, reading.raw_ns
    )

clock.ClockWatch.__init__.__defaults__ = (read,)
sys.exit(process.main(sys.argv[1:]))
"""


def test_a_real_loadrun_reports_a_clock_that_was_set(make_run: MakeRun) -> None:
    run = make_run(instances=1)
    path = Path(run.directory, "loadrun.json")
    path.write_text(run.config.to_json())
    run.start_worker(0, "--rate", "400", "--service-s", "0.002")
    words = [sys.executable, "-c", STEPPED, str(path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    [phase] = run.report()["clock"]
    [(_, by_s)] = phase["steps"]
    assert by_s == pytest.approx(20, abs=0.1)
    assert phase["seconds"] > 0.5
