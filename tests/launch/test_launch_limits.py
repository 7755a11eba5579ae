"""Limits of containers and processes, from files as the kernel has them."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import pytest

from base.errors import InputError, RunError
from launch.machine import limits
from launch.machine.doctor.finding import Level
from launch.machine.doctor.limits import check_limits
from launch.machine.limits import Need, check, need_for_build, need_for_run, with_memory_named
from launch.machine.recording import Directory, Recorded
from models.packages import cannot_load, installing_extra

MIB = 1 << 20
OWN = "sys/fs/cgroup/box"
UNIFIED = {
    "proc/self/cgroup": "0::/box/inner\n",
    f"{OWN}/memory.max": f"{300 * MIB}\n",
    f"{OWN}/memory.current": f"{200 * MIB}\n",
    f"{OWN}/memory.stat": f"anon 1\ninactive_file {50 * MIB}\nactive_file {10 * MIB}\n",
    f"{OWN}/inner/memory.max": "max\n",
    f"{OWN}/pids.max": "40\n",
    f"{OWN}/pids.current": "33\n",
    f"{OWN}/inner/memory.events": "low 0\noom 3\noom_kill 2\n",
    "proc/meminfo": f"MemTotal: {8 << 20} kB\nMemAvailable: {4 << 20} kB\n",
}
LEGACY = {
    "proc/self/cgroup": "5:pids:/docker/1\n4:memory:/docker/1\n0::/\n",
    # A container sees its own cgroup as the mount itself.
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{300 * MIB}\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{200 * MIB}\n",
    "sys/fs/cgroup/memory/memory.stat": (
        f"inactive_file 1\ntotal_inactive_file {50 * MIB}\ntotal_active_file {10 * MIB}\n"
    ),
    "sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "sys/fs/cgroup/pids/pids.max": "40\n",
    "sys/fs/cgroup/pids/pids.current": "33\n",
}


@pytest.mark.parametrize("files", [UNIFIED, LEGACY], ids=["v2", "v1"])
def test_what_a_container_leaves(files: dict[str, str]) -> None:
    """Files that the kernel only keeps in memory are given up for others."""
    tree = Recorded(files)
    room = limits.memory(tree)
    assert room is not None
    assert (room.left, room.limit) == (160 * MIB, 300 * MIB)
    assert "docker run --memory" in room.cure
    tasks = limits.tasks(tree)
    assert tasks is not None
    assert (tasks.left, tasks.limit) == (7, 40)
    assert limits.kills_for_memory(tree) == 2


@pytest.mark.parametrize("limit", ["max", "9223372036854771712", ""])
def test_no_limit_is_none(limit: str) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/\n0::/\n",
        "sys/fs/cgroup/memory.max": limit,
        "sys/fs/cgroup/memory/memory.limit_in_bytes": limit,
    }
    assert limits.memory(Recorded(files)) is None
    assert limits.kills_for_memory(Recorded(files)) == 0


def test_a_machine_has_limits_too() -> None:
    room = limits.memory(Recorded({"proc/meminfo": "MemTotal: 900 kB\nMemAvailable: 500 kB\n"}))
    assert room is not None
    assert (room.left, room.whose) == (500 << 10, "the machine")


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_run_that_does_not_fit_is_refused_in_one_line(tmp_path: Path) -> None:
    root = write(tmp_path, UNIFIED)
    with pytest.raises(
        InputError,
        match=r"a run needs at least 200.0 MiB of memory, but the memory"
        r" limit of this container or cgroup leaves 160.0 MiB of 300.0 MiB \(cure: ",
    ):
        check(Need(memory=200 * MIB), "a run", root=root)
    with pytest.raises(InputError, match=r"8 processes and threads.* leaves 7 of 40.*fewer"):
        check(Need(tasks=8), "a run", ", or fewer --instances", root)
    check(Need(memory=160 * MIB, tasks=7), "a run", root=root)


def test_a_run_needs_more_with_more_instances_and_samples() -> None:
    small, large = need_for_run("sim", 1, 1), need_for_run("onednn", 4, 8, 155 * MIB)
    assert small.memory < 64 * MIB < 200 * MIB < large.memory
    assert large.tasks - small.tasks == 31
    assert large.file == 155 * MIB
    assert need_for_build(True).memory > need_for_build(False).memory


@pytest.mark.parametrize(
    ("number", "look", "option"),
    [
        (resource.RLIMIT_AS, limits.addresses, "-v"),
        (resource.RLIMIT_DATA, limits.addresses, "-d"),
        (resource.RLIMIT_FSIZE, limits.file_size, "-f"),
        (resource.RLIMIT_NOFILE, limits.open_files, "-n"),
        (resource.RLIMIT_CPU, limits.processor_seconds, "-t"),
    ],
)
def test_limits_of_a_process(
    number: int, look: object, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limit(asked: int) -> tuple[int, int]:
        soft = 12345 if asked == number else resource.RLIM_INFINITY
        return soft, resource.RLIM_INFINITY

    monkeypatch.setattr(resource, "getrlimit", limit)
    room = look()  # type: ignore[operator]
    assert (room.left, room.whose) == (12345, f"ulimit {option}")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert look() is None  # type: ignore[operator]


def test_doctor_shows_what_the_container_leaves(tmp_path: Path) -> None:
    found = {f.check: f for f in check_limits(2, write(tmp_path, UNIFIED))}
    assert found["memory"].level is Level.MATTERS
    assert found["memory"].found.startswith("160.0 MiB of 300.0 MiB left by the memory limit")
    assert found["processes"].level is Level.MATTERS


def test_a_run_that_the_kernel_killed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "kills_for_memory", lambda: 3)
    error = with_memory_named(RunError("netrun was killed by SIGKILL"), 2)
    assert "the memory limit" in str(error)
    assert str(with_memory_named(RunError("x"), 3)) == "x"
    wrong = InputError("y")
    assert with_memory_named(wrong, 2) is wrong


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "no"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_no_memory_is_named(error: Exception) -> None:
    message = limits.no_memory(error)
    assert message is not None
    assert "cure" in message
    assert limits.no_memory(OSError(errno.ENOENT, "other")) is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            OSError("libtorch_cpu.so: cannot open shared object file: No such file"),
            ["torch cannot be loaded", "pip install --force-reinstall torch"],
        ),
        (
            ImportError("libgomp.so.1: cannot open shared object file", name="torch._C"),
            ["torch cannot be loaded", "apt-get install libgomp1"],
        ),
        (
            ImportError("/x/mlperf_loadgen.so: undefined symbol: y", name="mlperf_loadgen"),
            ["mlcommons-loadgen cannot be loaded"],
        ),
        (
            ImportError("x.so: failed to map segment from shared object", name="numpy"),
            ["ulimit -v"],
        ),
        (ModuleNotFoundError("No module named 'PIL'", name="PIL"), ["pillow cannot be loaded"]),
    ],
)
def test_a_package_that_cannot_be_loaded(error: Exception, expected: list[str]) -> None:
    line = cannot_load(error)
    assert line is not None
    assert "\n" not in line
    for words in expected:
        assert words in line
    assert cannot_load(OSError(errno.ENOENT, "no such file x.so")) is None


def test_the_machine_itself_can_be_read() -> None:
    tree = Directory(Path("/"))
    room = limits.memory(tree)
    assert room is not None
    assert 0 < room.left <= room.limit


@pytest.mark.parametrize("active", [True, False])
def test_a_cure_installs_where_this_interpreter_looks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, active: bool
) -> None:
    """The scripts and make use an environment that is not on the PATH; another pip may be."""
    for folder in ("ours", "another place"):
        (tmp_path / folder).mkdir()
        for name in ("pip", "python"):
            (tmp_path / folder / name).touch(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "another place" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / ("another place" if active else "ours")))
    pip = "pip" if active else f"'{tmp_path}/another place/python' -m pip"
    assert installing_extra("bert") == f"{pip} install 'loadrun[bert]'"
