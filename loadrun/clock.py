"""Whether the clock that LoadGen times with ran true, and whether this process ran at all.

LoadGen reads CLOCK_REALTIME, which a person or a time service may set in the middle of a test. Set
against CLOCK_BOOTTIME, which nobody can set, every step shows. Suspending the machine shows in
CLOCK_BOOTTIME against CLOCK_MONOTONIC, a clock that is slewed fast in CLOCK_MONOTONIC against
CLOCK_MONOTONIC_RAW, and a process that stood still in ticks that come late.

Only timed phases are watched: from the moment a set of samples is loaded until it is unloaded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

TICK_S = 0.1
"""How often the clocks are read."""
LATE_S = 0.5
"""So much later than expected, a tick counts as late: a busy machine delays it by less."""
DRIFT = 500e-6
"""How far a disciplined clock may run from the true rate (ntp_adjtime(2): 500 ppm)."""
SLEW = 2 * DRIFT
"""The same of CLOCK_MONOTONIC against the raw oscillator, which may itself be off as much."""
NOISE_S = 1e-3
"""What reading several clocks one after the other may cost on a busy machine."""
_ATTEMPTS = 4
_CLOSE_NS = 20_000
"""Readings that lie so close together need no second attempt."""


@dataclass(frozen=True)
class Reading:
    """All clocks at one time, ns; `width_ns` is how long it took to read them."""

    real_ns: int
    monotonic_ns: int
    boot_ns: int
    raw_ns: int
    width_ns: int = 0


def read() -> Reading:
    """Read all clocks, again where something came between."""
    best: Reading | None = None
    for _ in range(_ATTEMPTS):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        real = time.clock_gettime_ns(time.CLOCK_REALTIME)
        boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        raw = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        width = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - before
        if best is None or width < best.width_ns:
            best = Reading(real, before + width // 2, boot, raw, width)
        if width <= _CLOSE_NS:
            break
    assert best is not None
    return best


@dataclass
class Phase:
    """What the clocks did while one set of samples was served.

    `steps` are (when, by how much) in s, `drift_s` is what else the wall clock ran away from the
    machine's own, `slew` the ratio of a slewed clock to the raw one less 1, `suspended_s` how long
    the machine slept. `late` are (from, to) of ticks that came late, CLOCK_MONOTONIC ns.
    """

    seconds: float = 0.0
    steps: list[tuple[float, float]] = field(default_factory=list)
    drift_s: float = 0.0
    slew: float = 0.0
    suspended_s: float = 0.0
    late: list[tuple[int, int]] = field(default_factory=list)


class Conduct:
    """Follows the clocks from a first reading on; `phase` is what was seen so far."""

    def __init__(self, first: Reading) -> None:
        self._first = self._last = first
        self.phase = Phase()

    def see(self, reading: Reading) -> None:
        """Take the next reading, which is expected about `TICK_S` after the one before."""
        last, phase = self._last, self.phase
        went_s = (reading.monotonic_ns - last.monotonic_ns) / 1e9
        noise_s = NOISE_S + (reading.width_ns + last.width_ns) / 1e9
        slept_s = went_s_of(last, reading, "boot_ns") - went_s
        if slept_s > noise_s:
            phase.suspended_s += slept_s
        moved_s = went_s_of(last, reading, "real_ns") - went_s_of(last, reading, "boot_ns")
        if abs(moved_s) > noise_s + DRIFT * went_s:
            at_s = (reading.monotonic_ns - self._first.monotonic_ns) / 1e9
            phase.steps.append((at_s, moved_s))
        else:
            phase.drift_s += moved_s
        if went_s - TICK_S > LATE_S:
            phase.late.append((last.monotonic_ns, reading.monotonic_ns))
        phase.seconds = went_s_of(self._first, reading, "monotonic_ns")
        raw_s = went_s_of(self._first, reading, "raw_ns")
        # In a moment the noise of reading is more than any slew.
        phase.slew = phase.seconds / raw_s - 1 if raw_s > 1 else 0.0
        self._last = reading


def went_s_of(earlier: Reading, later: Reading, clock: str) -> float:
    """How far one clock went between two readings, in s."""
    return float(getattr(later, clock) - getattr(earlier, clock)) / 1e9


class ClockWatch:
    """Reads the clocks in a thread of its own while it is entered; `phases` is what was seen."""

    def __init__(self, read: Callable[[], Reading] = read) -> None:
        self._read = read
        self._conduct: Conduct | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)
        self.phases: list[Phase] = []

    def __enter__(self) -> ClockWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def begin(self) -> None:
        """From here on time counts: samples are loaded."""
        with self._lock:
            self._conduct = Conduct(self._read())

    def end(self) -> None:
        """The last answer has come: samples are unloaded."""
        with self._lock:
            if self._conduct is not None:
                self._conduct.see(self._read())
                self.phases.append(self._conduct.phase)
                self._conduct = None

    def _run(self) -> None:
        while not self._ended.wait(TICK_S):
            with self._lock:
                if self._conduct is not None:
                    self._conduct.see(self._read())
