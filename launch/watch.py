"""Shows a run while it goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path

from launch.terminal import Bar, Terminal
from shm.control import RunState

SAYING = "loadrun: "
STEPS = {
    RunState.STARTING: "starting: instances load the model",
    RunState.WARMUP: "warming up: measuring what the instances can do",
}


class RunWatcher:
    """Tells the user the phases of a run and draws its progress (supervisor.Listener).

    `report` is the file in which loadrun says, when the test begins, how long it will take.
    """

    def __init__(self, terminal: Terminal, bar: Bar, report: Path) -> None:
        self._terminal = terminal
        self._bar = bar
        self._report = report
        self._test_began: float | None = None
        self._expected_s: float | None = None

    def phase(self, state: RunState) -> None:
        """Name what happens now, until the test begins."""
        if state in STEPS:
            self._terminal.line(STEPS[state])

    def loadrun_says(self, line: str) -> None:
        """Pass on what is meant for people; its first words come when the test begins."""
        if not line.startswith(SAYING) or ": error: " in line:
            return
        self._terminal.line(line.removeprefix(SAYING))
        if self._test_began is None:
            self._test_began = time.monotonic()
            try:
                self._expected_s = json.loads(self._report.read_text())["expected_duration_s"]
            except (OSError, ValueError, KeyError):
                self._expected_s = None

    def progress(self, samples: int | None) -> None:
        """Draw the time gone against the time expected, and the rate so far."""
        if self._test_began is None:
            return
        gone_s = time.monotonic() - self._test_began
        detail = f"{gone_s:.0f} s"
        if self._expected_s:
            detail += f" of about {self._expected_s:.0f} s"
        if samples is not None and gone_s > 1:
            detail += f", {samples} samples, {samples / gone_s:.4g} samples/s"
        # Past its time a bar stands at its end, and does not claim to be beyond it.
        expected = self._expected_s
        self._bar.update(min(gone_s, expected) if expected else gone_s, expected, detail)

    def notice(self, text: str) -> None:
        """Say it at once."""
        self._terminal.line(f"  note: {text}")
