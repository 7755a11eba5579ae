"""What this process may still take: limits of its cgroups, of its user and of itself.

A kernel that runs into a limit of memory kills without a word, and threads that cannot be started
end in errors of whoever wanted them. So the limits are looked at before anything is started.
Formats: Linux Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst and pids.rst,
getrlimit(2), proc(5).
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError, RunError
from launch.machine.recording import Directory, FileTree
from launch.machine.topology import CGROUP, upwards
from launch.outcome.room import mebibytes

UNLIMITED = 1 << 60
"""cgroup v1 has no word for no limit, but a number as large as this."""
LOADRUN_BYTES = 16 << 20
"""Memory that loadrun takes beside what launch has already, measured."""
INSTANCE_BYTES = {"sim": 16 << 20, "null": 16 << 20, "onednn": 32 << 20, "pytorch": 150 << 20}
"""Memory of an instance by engine, at the least batch size."""
BUILD_BYTES = 400 << 20
"""Memory of a process that quantises or draws, with torch."""
RUN_ADDRESSES = 500 << 20
"""Address space of loadrun, without the samples."""
BUILD_ADDRESSES = 1300 << 20
"""Address space of a process with torch, the CPU's build."""
LEAST_FILE = 4 << 20
"""The largest log."""
OPEN_FILES = 24
OTHER_TASKS = 7
"""Threads of launch and loadrun, LoadGen's included."""


@dataclass(frozen=True)
class Need:
    """The least that is needed; sizes in bytes, `file` the largest file, `tasks` also threads."""

    memory: int = 0
    addresses: int = 0
    file: int = 0
    tasks: int = 0
    open_files: int = 0


@dataclass(frozen=True)
class Room:
    """How much is `left` of a `limit`; `whose` names what sets it, `cure` how to raise it."""

    left: int
    limit: int
    whose: str
    cure: str


def need_for_run(engine: str, instances: int, threads: int, samples_bytes: int = 0) -> Need:
    """What a run needs; `samples_bytes` of shared memory, `threads` of each instance."""
    each = INSTANCE_BYTES.get(engine, min(INSTANCE_BYTES.values()))
    return Need(
        memory=LOADRUN_BYTES + instances * each + samples_bytes,
        addresses=RUN_ADDRESSES + samples_bytes,
        file=max(LEAST_FILE, samples_bytes),
        tasks=OTHER_TASKS + instances * (threads if engine in ("onednn", "pytorch") else 1),
        open_files=OPEN_FILES,
    )


def need_for_build(with_torch: bool) -> Need:
    """What building needs: with torch where a network is drawn or quantised."""
    return Need(
        memory=BUILD_BYTES if with_torch else LOADRUN_BYTES,
        addresses=BUILD_ADDRESSES if with_torch else 0,
        open_files=OPEN_FILES,
    )


def check(need: Need, what: str, fewer: str = "", root: Path = Path("/")) -> None:
    """InputError, with the cure, where a limit leaves less than `need`.

    `what` is what needs it, `fewer` an option by which it would need less.
    """
    tree = Directory(root)
    for amount, room, unit in (
        (need.memory, memory(tree), "of memory"),
        (need.addresses, addresses(), "of address space"),
        (need.file, file_size(), "in one file"),
        (need.tasks, tasks(tree), "processes and threads"),
        (need.open_files, open_files(), "open files"),
    ):
        if room is not None and room.left < amount:
            shown = mebibytes if unit.startswith(("of ", "in ")) else str
            other = fewer if unit in ("of memory", "processes and threads") else ""
            raise InputError(
                f"{what} needs at least {shown(amount)} {unit}, but {room.whose} leaves"
                f" {shown(room.left)} of {shown(room.limit)} (cure: {room.cure}{other})"
            )


def memory(tree: FileTree) -> Room | None:
    """Memory that may still be taken: of the tightest cgroup, else of the machine."""
    cure = "more memory for the container (docker run --memory) or service (MemoryMax)"
    rooms = [
        Room(max(limit - used + _reclaimable(tree, directory), 0), limit, _whose("memory"), cure)
        for directory, limit, used in _limits(
            tree,
            "memory",
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        )
    ]
    facts = dict(_pairs(tree.read("proc/meminfo").replace(":", "").replace(" kB", "")))
    if "MemAvailable" in facts and "MemTotal" in facts:
        left, total = facts["MemAvailable"] << 10, facts["MemTotal"] << 10
        rooms.append(Room(left, total, "the machine", "end other programs, or add memory"))
    return min(rooms, key=lambda room: room.left, default=None)


def tasks(tree: FileTree) -> Room | None:
    """Processes and threads that may still be started."""
    cure = "a higher limit of the container (docker run --pids-limit) or service (TasksMax)"
    names = ("pids.max", "pids.current")
    rooms = [
        Room(max(limit - used, 0), limit, _whose("pids"), cure)
        for _, limit, used in _limits(tree, "pids", names, names)
    ]
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    # Root may start as many as it likes.
    if soft != resource.RLIM_INFINITY and os.geteuid() != 0:
        left = max(soft - _threads_of(os.getuid()), 0)
        rooms.append(Room(left, soft, "the limit of this user (ulimit -u)", "ulimit -u unlimited"))
    return min(rooms, key=lambda room: room.left, default=None)


def addresses() -> Room | None:
    """The address space that a new process may have."""
    rooms = [_of_process(resource.RLIMIT_AS, "-v"), _of_process(resource.RLIMIT_DATA, "-d")]
    return min(
        (room for room in rooms if room is not None), key=lambda room: room.left, default=None
    )


def file_size() -> Room | None:
    """The largest file that may be written, those of /dev/shm included."""
    return _of_process(resource.RLIMIT_FSIZE, "-f")


def open_files() -> Room | None:
    """How many files a new process may open."""
    return _of_process(resource.RLIMIT_NOFILE, "-n", "ulimit -n 1024")


def processor_seconds() -> Room | None:
    """The processor time after which the kernel ends a process."""
    return _of_process(resource.RLIMIT_CPU, "-t")


def kills_for_memory(tree: FileTree | None = None) -> int:
    """How often the kernel has killed a process of this cgroup for want of memory."""
    tree = tree or Directory(Path("/"))
    count = 0
    for directory in _directories(tree, "memory"):
        for name in ("memory.events", "memory.oom_control"):
            count = max(count, dict(_pairs(tree.read(f"{directory}/{name}"))).get("oom_kill", 0))
    return count


def _of_process(number: int, option: str, cure: str = "") -> Room | None:
    soft, _ = resource.getrlimit(number)
    if soft == resource.RLIM_INFINITY:
        return None
    return Room(soft, soft, f"ulimit {option}", cure or f"ulimit {option} unlimited")


def _whose(controller: str) -> str:
    return f"the {controller} limit of this container or cgroup"


def _directories(tree: FileTree, controller: str) -> Iterator[str]:
    """The cgroups that bound this process, from its own upwards."""
    for line in tree.read("proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from upwards(CGROUP, path)
        elif controller in controllers.split(","):
            yield from upwards(f"{CGROUP}/{controller}", path)


def _limits(
    tree: FileTree, controller: str, unified: tuple[str, str], legacy: tuple[str, str]
) -> Iterator[tuple[str, int, int]]:
    """(cgroup, limit, used) wherever there is a limit."""
    for directory in dict.fromkeys(_directories(tree, controller)):
        for limit_name, used_name in dict.fromkeys((unified, legacy)):
            limit = tree.read(f"{directory}/{limit_name}").strip()
            used = tree.read(f"{directory}/{used_name}").strip()
            if limit.isdecimal() and int(limit) < UNLIMITED:
                yield directory, int(limit), int(used) if used.isdecimal() else 0


def _reclaimable(tree: FileTree, directory: str) -> int:
    """Bytes of files that a cgroup keeps in memory and would give up."""
    facts = dict(_pairs(tree.read(f"{directory}/memory.stat")))
    names = ("inactive_file", "active_file")
    return sum(facts.get(f"total_{name}", facts.get(name, 0)) for name in names)


def _pairs(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[1].isdecimal():
            yield words[0], int(words[1])


def _threads_of(user: int) -> int:
    """The threads that the kernel counts as this user's."""
    count = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            facts = dict(line.split(b":", 1) for line in status.read_bytes().splitlines())
            if int(facts[b"Uid"].split()[0]) == user:
                count += int(facts[b"Threads"])
        except (OSError, KeyError, ValueError):
            continue
    return count


def with_memory_named(error: Exception, kills_before: int) -> Exception:
    """`error`, with the reason and the cure where the kernel has killed for memory meanwhile."""
    if not isinstance(error, RunError) or kills_for_memory() <= kills_before:
        return error
    room = memory(Directory(Path("/")))
    of = "" if room is None else f" of {mebibytes(room.limit)}"
    cure = "" if room is None else f"; cure: {room.cure}, or fewer --instances"
    return RunError(f"{error} (the kernel ended it: the memory limit{of} was reached{cure})")


def no_memory(error: Exception) -> str | None:
    """What an error says that comes of want of memory, with the cure; None for any other."""
    allocating = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    if not (
        allocating
        or isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    ):
        return None
    bound = addresses()
    cure = bound.cure if bound else "end other programs, or give the container more memory"
    return f"no memory is left (cure: {cure})"
