"""Checks of what a run needs of the system: shared memory, tools, packages, room, leftovers."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from base.errors import InputError
from launch.build.cache import cache_directory
from launch.machine.doctor.finding import Finding, Level, ok
from launch.machine.doctor.limits import check_limits
from launch.machine.limits import memory
from launch.machine.pinning import Pinning
from launch.machine.recording import Directory
from launch.machine.topology import Topology
from launch.outcome.room import free_bytes, mebibytes, nearest
from shm.reclaim import find_runs
from shm.segment import SHM_DIRECTORY, directory_trouble

ARENA_BYTES = 160 << 20
"""Shared memory of a run with 1024 samples of the largest model, rings included."""
CACHE_BYTES = 1 << 30
"""Samples, weights and artifacts of a model with a few thousand images."""
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:==\s*([0-9][^;,\s]*))?")


def check_system(topology: Topology, pinning: Pinning) -> Iterator[Finding]:
    """Everything a run needs; `pinning` is what was found to work here."""
    yield _shared_memory()
    yield _locked_memory()
    yield from check_limits(len(topology.allowed))
    yield from _pinning(topology, pinning)
    yield _compiler()
    yield from _packages()
    yield _cache()
    yield from _runs()


def _shared_memory(root: Path = Path("/")) -> Finding:
    if trouble := directory_trouble():
        found, _, cure = trouble.partition("; ")
        return Finding("shared memory", Level.MATTERS, found, "no run can start", cure)
    file_system = os.statvfs(SHM_DIRECTORY)
    free = free_bytes(file_system)
    found = f"{SHM_DIRECTORY}: {mebibytes(free)} free"
    # What lies in it counts as memory of the container.
    room = memory(Directory(root))
    if room is not None and room.left < free:
        found += f", of which {room.whose} leaves {mebibytes(room.left)}"
    if not os.access(SHM_DIRECTORY, os.W_OK | os.X_OK):
        return Finding(
            "shared memory",
            Level.MATTERS,
            f"{SHM_DIRECTORY} is not to be written to",
            "no run can start",
            f"mount -o remount,rw,mode=1777 {SHM_DIRECTORY}",
        )
    if free < ARENA_BYTES:
        return Finding(
            "shared memory",
            Level.MATTERS,
            found,
            f"1024 samples need about {mebibytes(ARENA_BYTES)}: runs end before they start",
            f"docker run --shm-size 256m, or mount -o remount,size=256m {SHM_DIRECTORY}",
        )
    if file_system.f_files and file_system.f_favail < 100:
        return Finding(
            "shared memory",
            Level.MATTERS,
            f"{SHM_DIRECTORY}: {file_system.f_favail} inodes free",
            "a run needs a file for each instance and four more",
            f"mount -o remount,nr_inodes=0 {SHM_DIRECTORY}",
        )
    return ok("shared memory", found)


def _locked_memory() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    limit = "unlimited" if soft == resource.RLIM_INFINITY else mebibytes(soft)
    return ok("memlock", f"{limit}; loadrun locks no memory")


def _pinning(topology: Topology, pinning: Pinning) -> Iterator[Finding]:
    if pinning.notice is None:
        yield ok("pinning", f"numactl binds processors and memory ({pinning.numactl})")
        return
    found, _, cure = pinning.notice.rstrip(")").partition(" (")
    one_node = len(topology.nodes) < 2
    yield Finding(
        "pinning",
        Level.NOTE if one_node else Level.MATTERS,
        found,
        "none with one memory node" if one_node else "instances may read memory of another node",
        cure.removeprefix("cure: ") or "apt-get install numactl",
    )


def _compiler() -> Finding:
    found = next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)
    return ok("compiler", f"{found or 'none'}; loadrun compiles nothing on this machine")


def _packages() -> Iterator[Finding]:
    try:
        wanted = metadata.requires("loadrun") or []
    except metadata.PackageNotFoundError:
        yield Finding(
            "packages",
            Level.NOTE,
            "loadrun itself is not installed, but run from its sources",
            "versions of packages are not checked",
            "pip install -e .",
        )
        return
    wanted = [line for line in wanted if _applies(line)]
    wrong = [reason for line in wanted if (reason := _unmet(line)) is not None]
    if wrong:
        yield Finding(
            "packages",
            Level.MATTERS,
            "; ".join(wrong),
            "engines may fail to load, or give other answers",
            "pip install --upgrade loadrun",
        )
    else:
        yield ok("packages", f"Python {platform.python_version()}, {len(wanted)} as required")


def _applies(requirement: str) -> bool:
    """Whether the requirement is one of this machine, and of no extra."""
    marker = requirement.partition(";")[2]
    return "extra" not in marker and (
        "platform_machine" not in marker or platform.machine() in marker
    )


def _unmet(requirement: str) -> str | None:
    """Describe how a line of the package's requirements is unmet; only exact versions count."""
    found = _REQUIREMENT.match(requirement.partition(";")[0].strip())
    if found is None:
        return None
    name, version = found.groups()
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is missing"
    if version is not None and installed.partition("+")[0] != version:
        return f"{name} is {installed}, not {version}"
    return None


def _cache() -> Finding:
    try:
        cache = cache_directory()
    except InputError as error:
        found, _, cure = str(error).rstrip(")").partition(" (cure: ")
        return Finding("cache", Level.MATTERS, found, "nothing new can be built", cure)
    place = nearest(cache)
    free = free_bytes(os.statvfs(place))
    found = f"{cache}: {mebibytes(free)} free"
    if not os.access(place, os.W_OK):
        return Finding(
            "cache",
            Level.MATTERS,
            f"{cache} is not to be written to",
            "nothing new can be built",
            "export LOADRUN_CACHE=DIR",
        )
    if free < CACHE_BYTES:
        return Finding(
            "cache", Level.MATTERS, found, "builds may end early", "export LOADRUN_CACHE=DIR"
        )
    return ok("cache", found)


def _runs() -> Iterator[Finding]:
    runs = find_runs()
    stale = [run for run in runs if not run.alive]
    if stale:
        size = mebibytes(sum(run.bytes for run in stale))
        yield Finding(
            "leftovers",
            Level.MATTERS,
            f"{sum(len(run.files) for run in stale)} files of dead runs in {SHM_DIRECTORY}, {size}",
            "memory that nobody uses",
            "loadrun clean",
        )
    else:
        yield ok("leftovers", "none")
    for run in runs:
        if run.alive:
            yield Finding(
                "other runs",
                Level.MATTERS,
                f"run {run.run_id} of process {run.owner_pid} is alive",
                "two runs share processors and memory bandwidth: both figures suffer",
                "wait for its end",
            )
