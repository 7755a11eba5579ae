"""Durations in the words of people."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Whole seconds, minutes and hours, as a person says it: 42 s, 2 min 5 s, 1 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def took(seconds: float) -> str:
    """How long something took: below a minute to a tenth of a second."""
    return f"{seconds:.1f} s" if seconds < 59.95 else duration(seconds)
