"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """OK; NOTE: worth knowing, or not to be changed here; MATTERS: results suffer from it."""

    OK = "ok"
    NOTE = "note"
    MATTERS = "matters"


@dataclass(frozen=True)
class Finding:
    """`found` is what there is; `effect` on results and `cure`, a command, where it is not OK."""

    check: str
    level: Level
    found: str
    effect: str = ""
    cure: str = ""


def ok(check: str, found: str) -> Finding:
    """Nothing to say but what there is."""
    return Finding(check, Level.OK, found)
