"""How long to spin before parking.

Waking a parked process costs tens of microseconds on a virtual machine; spinning costs the
processor. A strategy says how long it is worth to spin.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from shm.doorbell import Doorbell


@dataclass(frozen=True)
class WaitStrategy:
    """Spin up to `spin_s` seconds, then park on the doorbell."""

    spin_s: float

    def __post_init__(self) -> None:
        if not self.spin_s >= 0:
            raise ValueError(f"spin_s {self.spin_s}: expected 0 or more seconds")

    def wait(self, ready: Callable[[], bool], doorbell: Doorbell, timeout_s: float) -> bool:
        """Wait until `ready()`; False when it is not after `timeout_s` seconds.

        Each turn of the spin yields the processor, and with it the GIL: neither a worker that
        shares the core nor another thread of this process waits for the spinner.
        """
        if ready():
            return True
        now = time.monotonic()
        deadline = now + timeout_s
        spin_end = min(now + self.spin_s, deadline)
        while now < spin_end:
            os.sched_yield()
            if ready():
                return True
            now = time.monotonic()
        while now < deadline:
            if doorbell.park(ready, deadline - now):
                return True
            now = time.monotonic()
        return ready()


SPIN_THEN_PARK = WaitStrategy(spin_s=100e-6)
"""The default: about twice the cost of a wake-up, so that a wait never costs more than double."""

PARK = WaitStrategy(spin_s=0.0)
"""Park at once: where processors are scarcer than microseconds."""
