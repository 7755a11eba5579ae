"""The kernel's format of lists of processors, e.g. ``0-3,8,10-11``."""

from __future__ import annotations

from collections.abc import Iterable


def parse_list(text: str) -> list[int]:
    """Parse the kernel's list format; empty text gives no numbers."""
    numbers: list[int] = []
    for part in text.strip().split(","):
        if not part.strip():
            continue
        low, _, high = part.partition("-")
        numbers.extend(range(int(low), int(high or low) + 1))
    return numbers


def format_list(numbers: Iterable[int]) -> str:
    """The kernel's list format of `numbers`, e.g. ``0-3,8``."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)
