"""Limits that a run can meet: memory and processes of the container, and those of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from launch.machine import limits
from launch.machine.doctor.finding import Finding, Level, ok
from launch.machine.limits import Room
from launch.machine.recording import Directory
from launch.outcome.room import mebibytes

RUN_BYTES = 512 << 20
"""Memory in which a run of two instances and its build fit."""
TEST_S = 660
"""Seconds of an official test, with what goes before it."""


def check_limits(processors: int, root: Path = Path("/")) -> Iterator[Finding]:
    """What limits leave of memory, processes, address space, file size, files and time."""
    tree = Directory(root)
    room = limits.memory(tree)
    if room is not None:
        effect = "runs are killed without a word, or end before they start"
        yield _finding("memory", room, RUN_BYTES, mebibytes, effect)
    room = limits.tasks(tree)
    if room is not None:
        effect = "instances and their threads cannot be started"
        yield _finding("processes", room, limits.OTHER_TASKS + 4 + processors, str, effect)
    arena = limits.LEAST_FILE + (160 << 20)
    for check, room, needed, shown, effect in (
        ("address space", limits.addresses(), limits.BUILD_ADDRESSES, mebibytes, "torch"),
        ("file size", limits.file_size(), arena, mebibytes, "samples and shared memory"),
        ("open files", limits.open_files(), limits.OPEN_FILES, str, "LoadGen"),
        ("processor time", limits.processor_seconds(), TEST_S * processors, _seconds, "tests"),
    ):
        # Said only where there is a limit, which is rare.
        if room is not None and room.left < needed:
            yield _finding(check, room, needed, shown, f"{effect} may end in errors")


def _finding(
    check: str, room: Room, needed: int, shown: Callable[[int], str], effect: str
) -> Finding:
    found = f"{shown(room.left)} of {shown(room.limit)} left by {room.whose}"
    if room.left >= needed:
        return ok(check, found)
    return Finding(check, Level.MATTERS, found, f"{shown(needed)} are needed: {effect}", room.cure)


def _seconds(count: int) -> str:
    return f"{count} s"
