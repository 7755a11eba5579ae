"""Shows a run while it goes on: drawn in place on a terminal, else in rare plain lines."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.errors import RunError
from launch.machine.plan import InstancePlan
from launch.outcome.reports import loadrun_report
from launch.screen.live.attention import attention
from launch.screen.live.meter import Meter, Reading
from launch.screen.live.progress import Progress, Steps
from launch.screen.live.rows import Group, group, row
from launch.screen.live.screen import Screen
from launch.screen.live.view import Latencies, rows_that_fit, view
from launch.screen.terminal import Bar, Terminal
from loadrun.report import Report
from loadrun.scenarios import SCENARIOS, SERVER
from shm.control import ControlBlock, InstanceState, RunState
from shm.ring import Rings
from shm.segment import ShmError

SAYING = "loadrun: "
STEPS = {
    RunState.STARTING: "starting: instances load the model",
    RunState.WARMUP: "warming up: measuring what the instances can do",
}
LOOK_S = 1.0
"""How often the instances are looked at, and the view is drawn."""
LONGEST_LOOK_S = 3.0
LOOK_SHARE = 0.0015
"""Most that looking and drawing take of a processor: where they take longer, they are rarer."""


@dataclass(frozen=True)
class Watched:
    """The run that is watched; `in_process`: LoadGen and the only instance are one process.

    `report` is the file in which loadrun says, when the test begins, what to expect of it.
    `longest_first`: samples differ in work and are served in that order. `steps` are what can be
    seen of long samples while they are served.
    """

    run_id: str
    model: str
    scenario: str
    instances: Sequence[InstancePlan]
    in_process: bool
    report: Path
    longest_first: bool = False
    steps: Steps | None = None


class RunWatcher:
    """Shows the user the phases of a run and draws its progress (supervisor.Listener).

    A context manager; whatever it cannot find out, the run goes on.
    """

    def __init__(self, terminal: Terminal, run: Watched) -> None:
        self._terminal = terminal
        self._run = run
        self._screen: Screen | None = None
        self._bar: Bar | None = None
        self._closing = contextlib.ExitStack()
        self._control: ControlBlock | None = None
        self._state: RunState | None = None
        self._meter: Meter | None = None
        self._reading: Reading | None = None
        self._groups: list[Group] = []
        self._rows = 0
        self._began = time.monotonic()
        self._test_began: float | None = None
        self._looked = 0.0
        self._answers_began: float | None = None
        self._look_at = 0.0
        self._report: Report | None = None

    def __enter__(self) -> RunWatcher:
        if self._terminal.draws:
            self._screen = self._closing.enter_context(self._terminal.screen())
        else:
            self._bar = self._closing.enter_context(self._terminal.bar("testing"))
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.close()

    def attached(self, control: ControlBlock) -> None:
        """From here on the instances can be looked at."""
        self._control = control

    def phase(self, state: RunState) -> None:
        """Name what happens now, until the test begins."""
        self._state = state
        if state in STEPS and not (self._run.in_process and state is RunState.STARTING):
            self._terminal.line(STEPS[state])
        if state is RunState.RUNNING and self._control is not None:
            with contextlib.suppress(ShmError):
                held = self._held()
                self._meter = Meter(self._control, held, time.monotonic_ns())

    def _held(self) -> Callable[[int], int]:
        """A function from an instance to the batches that it holds; raises ShmError."""
        if self._run.in_process:
            return _asked_at_once
        return self._closing.enter_context(Rings.attach(self._run.run_id)).held

    def loadrun_printed(self, line: str) -> None:
        """Pass on lines meant for people; the first comes when the test begins."""
        if not line.startswith(SAYING) or ": error: " in line:
            return
        self._terminal.line(line.removeprefix(SAYING))
        if self._test_began is None:
            self._test_began = time.monotonic()
            with contextlib.suppress(RunError):
                self._report = loadrun_report(self._run.report)

    def progress(self) -> None:
        """Look at the instances and show what they do, now and then."""
        now = time.monotonic()
        if now < self._look_at:
            return
        before_s = time.thread_time()
        self._look()
        pause_s = (time.thread_time() - before_s) / LOOK_SHARE
        self._look_at = now + min(max(LOOK_S, pause_s), LONGEST_LOOK_S)

    def _look(self) -> None:
        if self._meter is not None and self._state is RunState.RUNNING:
            now = time.monotonic()
            self._reading = self._meter.look(time.monotonic_ns())
            if self._answers_began is None and (self._reading.done or self._reading.steps):
                # LoadGen makes all queries before it asks the first, which can take seconds.
                self._answers_began = self._looked
            self._looked = now
        if self._screen is not None:
            self._draw(self._screen)
        elif self._bar is not None and self._test_began is not None:
            progress = self._progress()
            self._bar.update(progress.share or 0.0, 1.0 if progress.share else None, str(progress))

    def notice(self, text: str) -> None:
        """Say it at once."""
        self._terminal.line(f"  note: {text}")

    def _progress(self) -> Progress:
        since = self._answers_began or self._test_began or self._began
        # Once all is answered nothing is read any more, and the clock of what was read stands.
        until = time.monotonic() if self._reading is None else self._looked
        return Progress(
            gone_s=until - since,
            expected_s=self._report.expected_duration_s if self._report else None,
            done=None if self._reading is None else self._reading.done,
            expected=self._report.expected_samples if self._report else None,
            even=not self._run.longest_first,
            steps=self._run.steps,
            stepped=0 if self._reading is None else self._reading.steps,
        )

    def _draw(self, screen: Screen) -> None:
        width, height = screen.size
        progress, reading = self._progress(), self._reading
        rows, notes, rate = [], [], None
        if reading is not None:
            self._arrange(rows_that_fit(height))
            rows = [row(group, reading.instances) for group in self._groups]
            rate = reading.rate
            target = self._setting(SERVER.target.setting)
            measured = self._report.measured_rate if self._report else None
            notes = attention(self._run.scenario, progress, measured, target)
        head = (self._title(), progress, rate)
        screen.draw(view(*head, rows, notes, width, screen.glyphs, self._latencies()))

    def _latencies(self) -> Latencies | None:
        """Percentiles so far, where there are any; with Server's limit."""
        percentiles_ns = self._control.latencies_ns if self._control is not None else ()
        if not any(percentiles_ns):
            return None
        limit = SCENARIOS[self._run.scenario].limit
        return Latencies(percentiles_ns, (self._setting(limit) or 0) if limit is not None else 0)

    def _setting(self, name: str) -> Any:
        """A setting of LoadGen, once loadrun has reported them."""
        return self._report.settings.get(name) if self._report else None

    def _title(self) -> str:
        if self._test_began is not None:
            return f"testing {self._run.model} {self._run.scenario}"
        if self._control is None:
            return "starting"
        wanted, name = InstanceState.LOADED, "loaded"
        if self._state is RunState.WARMUP:
            wanted, name = InstanceState.READY, "ready"
        there = int((self._control.states() >= wanted).sum())
        return f"{there} of {self._control.instances} instances {name}"

    def _arrange(self, rows: int) -> None:
        """Share out the rows anew where the terminal's height has changed."""
        if rows != self._rows:
            self._rows = rows
            self._groups = group(self._run.instances, rows)


def _asked_at_once(_: int) -> int:
    """In one process LoadGen has its next query ready when the last one is answered."""
    return 1
