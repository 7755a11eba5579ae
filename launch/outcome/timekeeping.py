"""What a clock that was set, or a run that stood still, makes of a test's figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from launch.supervise.standstill import Span, stood_still
from loadrun.clock import DRIFT, NOISE_S, SLEW, Phase
from loadrun.durations import duration

STILL_SHARE = 0.01
"""Part of a test that may have stood still before its figures mean something else."""
SETTLE = (
    "run again while nothing sets the clock: let the time service settle first (timedatectl, or"
    " chronyc waitsync), and set no time by hand meanwhile"
)
AGAIN = "run again, and leave the run going: it was {how}"


@dataclass
class Timekeeping:
    """`spoils` are the (reason, cure) for which the figures do not count; `notes` remarks.

    `false_times`: the clock did not run true, so that no time of LoadGen's is right.
    """

    spoils: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    false_times: bool = False


def judge(phases: Sequence[Phase], own_late: Sequence[Span], missed: bool) -> Timekeeping:
    """Judge the phases that loadrun reported (`loadrun.clock.Phase`), one after the other.

    `own_late` are the spans in which launch was late or saw loadrun stopped. `missed`: Server
    missed its latency limit, which a shorter standstill explains, too.
    """
    found = Timekeeping()
    for phase in phases:
        _clock(phase, found)
        _standstill(phase, own_late, missed, found)
    return found


def _clock(phase: Phase, found: Timekeeping) -> None:
    allowed_s = NOISE_S + DRIFT * phase.seconds
    moved_s = sum(abs(by) for _, by in phase.steps) + abs(phase.drift_s)
    what = _steps(phase) if phase.steps else f"the system clock drifted by {phase.drift_s:+.3g} s"
    what = f"{what} in a test of {duration(phase.seconds)}"
    if moved_s > allowed_s:
        found.false_times = True
        found.spoils.append((f"{what}: LoadGen times with that clock", SETTLE))
    elif phase.steps:
        found.notes.append(f"{what}, which changes the figures by less than {DRIFT:.2%}")
    if abs(phase.slew) > SLEW:
        found.false_times = True
        way = "fast" if phase.slew > 0 else "slow"
        found.spoils.append(
            (
                f"the system clock ran {abs(phase.slew):.2%} too {way}, slewed by its time service:"
                " LoadGen times with that clock",
                SETTLE,
            )
        )


def _steps(phase: Phase) -> str:
    at_s, by_s = max(phase.steps, key=lambda step: abs(step[1]))
    more = f", and {len(phase.steps) - 1} times more" if len(phase.steps) > 1 else ""
    return f"the system clock was set by {by_s:+.3g} s after {at_s:.1f} s{more}"


def _standstill(phase: Phase, own_late: Sequence[Span], missed: bool, found: Timekeeping) -> None:
    pauses = stood_still(phase.late, own_late)
    stood_s = sum(seconds for _, seconds in pauses)
    for seconds, what, how in (
        (stood_s, "all processes stood still for", "stopped from outside (a paused container?)"),
        (phase.suspended_s, "the machine was suspended for", "suspended with the machine"),
    ):
        if not seconds:
            continue
        # The monotonic clock stands while the machine is suspended.
        whole_s = phase.seconds + phase.suspended_s
        text = f"{what} {seconds:.1f} s of a test of {duration(whole_s)}"
        if seconds > STILL_SHARE * whole_s or missed:
            found.spoils.append((text, AGAIN.format(how=how)))
        else:
            found.notes.append(f"{text}, which is too short to change the figures by more than 1%")
