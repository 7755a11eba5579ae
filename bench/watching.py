"""``python -m bench.watching``: what it costs to watch a run.

Processor time of the launch process (the supervisor that also draws the live view) while a test
goes on, on a terminal of 120 columns and into a pipe, and where it may run. Server, engine sim.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from typing import Any

from bench.parts.figures import show, spread, write_json
from bench.parts.idle import processor_s
from bench.parts.options import parser
from launch.machine.lists import format_list
from launch.supervise.environment import base_environment

QPS_EACH = 50
BEGUN = b"expected duration"
SETTLE_S = 3.0
START_S = 300.0


def main() -> None:
    """Measure, print, write."""
    arguments = parser(__doc__, rounds=3, seconds=30.0)
    arguments.add_argument("--instances", nargs="+", type=int, default=[2, 56])
    options = arguments.parse_args()
    rounds: list[dict[str, Any]] = [
        {"round": number, "instances": instances, "terminal": terminal}
        | _measure(instances, terminal, options.seconds)
        for number in range(options.rounds)
        for instances in options.instances
        for terminal in (True, False)
    ]
    write_json(options.json, rounds)
    rows = []
    for instances in options.instances:
        for terminal in (True, False):
            mine = [x for x in rounds if (x["instances"], x["terminal"]) == (instances, terminal)]
            where = "terminal" if terminal else "pipe"
            figures = [spread(mine, "percent"), mine[0]["threads"], mine[0]["processors"]]
            rows.append([f"{instances} instances, {where}", *figures])
    show("The launch process during a test", ["", "% of a core", "threads", "processors"], rows)


def _measure(instances: int, terminal: bool, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="loadrun-bench-") as results:
        options = {
            "--scenario": "server",
            "--engine": "sim",
            "--instances": instances,
            "--cores": instances,
            "--qps": QPS_EACH * instances,
            "--time": seconds + 2 * SETTLE_S,
            "--results": results,
        }
        words = [str(word) for option in options.items() for word in option]
        watched = _Watched(["run", "resnet50", "--oversubscribe", *words], terminal)
        try:
            watched.begun()
            time.sleep(SETTLE_S)
            before_s, start = processor_s(watched.pid), time.monotonic()
            time.sleep(seconds)
            used_s, past_s = processor_s(watched.pid) - before_s, time.monotonic() - start
            return {
                "percent": 100 * used_s / past_s,
                "threads": len(os.listdir(f"/proc/{watched.pid}/task")),  # noqa: PTH208
                "processors": format_list(os.sched_getaffinity(watched.pid)),
            }
        finally:
            watched.end()


class _Watched:
    """A `loadrun` command whose output is read, on a terminal or from a pipe."""

    def __init__(self, words: list[str], terminal: bool) -> None:
        if terminal:
            self._output, inner = pty.openpty()
            fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        else:
            self._output, inner = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "launch.cli", *words],
            stdin=subprocess.DEVNULL,
            stdout=inner,
            stderr=inner,
            env={**base_environment(), "TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(inner)
        self.pid = self._process.pid
        self._shown = bytearray()
        self._begun = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while chunk := os.read(self._output, 65536):
                self._shown += chunk
                if BEGUN in self._shown:
                    self._begun.set()
        except OSError:
            pass  # a terminal's way to say that nobody writes any more
        self._begun.set()

    def begun(self) -> None:
        """Wait until the test has begun."""
        self._begun.wait(START_S)
        if BEGUN not in self._shown:
            sys.exit(f"the run did not begin: {self._shown.decode(errors='replace')[-1000:]}")

    def end(self) -> None:
        """Interrupt the run, which removes its files and segments."""
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        os.close(self._output)


if __name__ == "__main__":
    main()
