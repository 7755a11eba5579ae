"""The JSON file in which loadrun tells launch how the test goes and went."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from base.files import write_text


@dataclass
class InstanceReport:
    """What one instance did: `rate` is that of its warm-up, samples of mean work a second."""

    instance: int
    samples: int
    batches: int
    busy_s: float
    rate: float


@dataclass
class Report:
    """Everything loadrun knows about its test.

    `status` is STARTING, RUNNING (written with the plan of the test, before it starts), COMPLETE,
    FAILED or INTERRUPTED; `error` says why it failed, `too_long` whether its length alone is why.
    `poison`, where instances died of a sample: the `samples` of which one is the cause, and the
    `deaths`, each an instance and how often it had died before. `measured_rate` is the sum of the
    instances' standalone rates (samples of mean work a second), `expected_samples` what LoadGen
    will ask for, None where that is open. `harness_efficiency` is LoadGen's Offline rate, in
    samples of mean work, over that sum.
    `processor_s` is the processor time of this process in the test, LoadGen's threads included.
    `unofficial` lists why the result is not official, `notes` remarks; `timings_s` the phases in s.
    `settings` are LoadGen's with audit.config applied, `target_source` says who set the expected
    rate: option, user.conf or measured. `loadgen` is what `loadrun.logs.LoadgenResult` holds, less
    its raw fields, `timeline` what `loadrun.timeline.Timeline` has noted, `clock` the phases whose
    times are the figure (`loadrun.clock.Phase`).
    """

    path: str
    status: str = "STARTING"
    error: str | None = None
    poison: dict[str, Any] | None = None
    too_long: bool = False
    scenario: str = ""
    mode: str = ""
    measured_rate: float | None = None
    target_source: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    expected_duration_s: float | None = None
    expected_samples: int | None = None
    duration_s: float | None = None
    processor_s: float | None = None
    harness_efficiency: float | None = None
    redispatched: int = 0
    instances: list[InstanceReport] = field(default_factory=list)
    unofficial: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    timings_s: dict[str, float] = field(default_factory=dict)
    loadgen: dict[str, Any] | None = None
    timeline: dict[str, Any] | None = None
    clock: list[dict[str, Any]] = field(default_factory=list)

    def write(self) -> None:
        """Write the file, whole."""
        content = asdict(self)
        write_text(Path(content.pop("path")), as_text(content))


_NUMBERS = re.compile(r"\[\n((?:[^\[\]{}\"\n]+\n)+) *\]")


def as_text(value: object) -> str:
    """JSON for people and programs: indented, but lists of numbers on one line each."""
    # Strings hold no line breaks in JSON, so that this finds lists only.
    text = json.dumps(value, indent=1)
    return _NUMBERS.sub(lambda found: f"[{' '.join(found.group(1).split())}]", text) + "\n"


class PhaseClock:
    """Notes how long each phase took: `mark(name)` ends the phase `name`."""

    def __init__(self, timings_s: dict[str, float]) -> None:
        self._timings_s = timings_s
        self._since = time.monotonic()

    def mark(self, name: str) -> float:
        """Return the seconds since the last mark, and keep them as phase `name`."""
        now = time.monotonic()
        took, self._since = now - self._since, now
        self._timings_s[name] = round(took, 4)
        return took
