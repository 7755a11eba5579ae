"""What of a test that still runs needs attention, while something can be done about it."""

from __future__ import annotations

from launch.screen.live.progress import Progress
from loadrun.scenarios import SCENARIOS

SETTLED_S = 10.0
"""Before this a rate means little: the first batches of a test are not its usual ones."""
SLOW = 0.85
"""Share of the rate measured at warm-up below which Offline's is reported."""
BACKLOG_S = 2.0
"""So many seconds' worth of queries that wait are more than Server's usual ups and downs."""


def attention(
    scenario: str, progress: Progress, measured_rate: float | None, target_qps: float | None
) -> list[str]:
    """Sentences for the user; `measured_rate` is the warm-up's (samples/s), `target_qps` Server's.

    Empty where all is well, or not enough is known yet.
    """
    rate = progress.rate
    if rate is None or progress.done is None or progress.gone_s < SETTLED_S:
        return []
    notes = []
    comparable = SCENARIOS[scenario].at_once and progress.even
    if comparable and measured_rate and rate < SLOW * measured_rate:
        notes.append(
            f"{100 * rate / measured_rate:.0f}% of the {measured_rate:.4g} samples/s measured at"
            " warm-up: is the machine busy with something else? (loadrun doctor)"
        )
    if SCENARIOS[scenario].scheduled and target_qps:
        waiting = target_qps * progress.gone_s - progress.done
        if waiting > BACKLOG_S * target_qps:
            notes.append(
                f"about {waiting:.0f} queries wait, more come than are answered: this ends INVALID"
                f" (--qps {0.9 * rate:.4g} may hold)"
            )
    return notes
