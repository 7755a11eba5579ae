"""What the user sees of a building process."""

from __future__ import annotations

import json
import time
from typing import Any

from base.errors import InterruptedRunError
from launch.screen.terminal import Bar, Terminal
from launch.supervise.processes import Child
from launch.supervise.signals import Signals
from launch.supervise.tail import Tail
from loadrun.durations import duration

POLL_S = 0.1
RATE_KNOWN_S = 2.0


def watch(child: Child, bar: Bar, terminal: Terminal, signals: Signals) -> None:
    """Show progress and notices until the child has ended; a stage that did work leaves one line.

    Raises InterruptedRunError on an ending signal.
    """
    output = Tail(child.log)
    begun: set[str] = set()
    pace = _Pace()
    while True:
        ended = child.ended() is not None
        for line in output.lines():
            if not line.startswith(('{"stage"', '{"notice"')):
                continue
            step = json.loads(line)
            if "notice" in step:
                terminal.line(f"  note: {step['notice']}")
                continue
            if step["stage"] not in begun:
                begun.add(step["stage"])
                terminal.line(f"preparing: {step['stage']} (once)")
            bar.update(step["done"], step["total"] or None, pace.detail(step))
        if ended:
            return
        signals.wait(POLL_S)
        if signals.ending is not None:
            raise InterruptedRunError(f"interrupted by {signals.ending.name}")


class _Pace:
    """How fast a stage goes, and how long it still takes."""

    def __init__(self) -> None:
        self._stage = ""
        self._began = (0.0, 0)

    def detail(self, step: dict[str, Any]) -> str:
        """The stage with its progress; rate and time left once they are known."""
        now, done, total = time.monotonic(), int(step["done"]), int(step["total"])
        if step["stage"] != self._stage:
            self._stage, self._began = step["stage"], (now, done)
        text = f"{self._stage}  {done} of {total}" if total else self._stage
        began, before = self._began
        if now - began < RATE_KNOWN_S or done <= before or not total:
            return text
        rate = (done - before) / (now - began)
        shown = f"{rate:.0f}" if rate >= 10 else f"{rate:.1g}"
        return f"{text}, {shown}/s, {duration((total - done) / rate)} left"
