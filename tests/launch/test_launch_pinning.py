"""Processes run where the plan says, and the kernel confirms it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from base.errors import RunError
from launch.machine.pinning import Pinning, find_pinning, read_binding
from launch.machine.topology import read_topology
from launch.supervise.environment import base_environment, instance_environment
from launch.supervise.processes import (
    describe_end,
    end_all,
    error_line,
    last_lines,
    start,
    wait_all,
)
from launch.supervise.signals import Signals

WITHOUT_NUMACTL = Pinning(None, False, None)
SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


def pinnings() -> list[Pinning]:
    """Plain affinity, and what this machine offers."""
    return [WITHOUT_NUMACTL, find_pinning(read_topology())]


@pytest.mark.parametrize("pinning", pinnings(), ids=lambda p: p.method)
def test_a_child_runs_on_its_processor(tmp_path: Path, pinning: Pinning) -> None:
    last = read_topology().allowed[-1]
    before = os.sched_getaffinity(0)
    code = "import os; print(sorted(os.sched_getaffinity(0)))"
    with Signals() as signals:
        child = start(
            "child",
            [sys.executable, "-c", code],
            log=tmp_path / "child.log",
            environment=base_environment(),
            pinning=pinning,
            processors=[last.id],
            memory_node=last.node,
        )
        assert wait_all([child], signals, timeout_s=20)
    assert (child.ended(), child.last_words()) == (0, f"[{last.id}]")
    assert os.sched_getaffinity(0) == before, "the parent is where it was"


def test_the_binding_is_read_back_from_the_kernel(tmp_path: Path) -> None:
    last = read_topology().allowed[-1].id
    with Signals() as signals:
        child = start(
            "child",
            SLEEPER,
            log=tmp_path / "child.log",
            environment=base_environment(),
            pinning=WITHOUT_NUMACTL,
            processors=[last],
        )
        try:
            binding = read_binding(child.pid)
        finally:
            end_all([child], signals, patience_s=5)
    assert binding is not None
    assert binding.processors == (last,)
    assert read_binding(child.pid) is None


def test_the_method_found_here_binds(tmp_path: Path) -> None:
    topology = read_topology()
    pinning = find_pinning(topology)
    last = topology.allowed[-1]
    with Signals() as signals:
        child = start(
            "child",
            SLEEPER,
            log=tmp_path / "child.log",
            environment=base_environment(),
            pinning=pinning,
            processors=[last.id],
            memory_node=last.node,
        )
        try:
            while child.last_words() != "up":
                assert child.ended() is None
                signals.wait(0.02)
            binding = read_binding(child.pid)
        finally:
            end_all([child], signals, patience_s=5)
    assert binding is not None
    assert binding.processors == (last.id,)
    if binding.memory_policy is not None:
        assert binding.memory_policy.startswith("bind") == pinning.memory


def test_the_words_of_numactl() -> None:
    pinning = Pinning("/usr/bin/numactl", True, None)
    assert pinning.prefix([0, 1, 2, 5], 1) == ["/usr/bin/numactl", "-C", "0-2,5", "-m", "1", "--"]
    assert pinning.prefix([3], None) == ["/usr/bin/numactl", "-C", "3", "--"]
    assert Pinning("/usr/bin/numactl", False, "").prefix([3], 0)[-3:] == ["-C", "3", "--"]
    assert WITHOUT_NUMACTL.prefix([3], 0) == []


def test_missing_numactl_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    pinning = find_pinning(read_topology())
    assert pinning.method == "sched_setaffinity"
    assert pinning.notice is not None
    assert "apt-get install numactl" in pinning.notice


def test_numactl_without_permission_for_memory_still_pins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    numactl = tmp_path / "numactl"
    # As in a container: -m is refused, -C works.
    numactl.write_text('#!/bin/sh\ncase " $* " in *" -m "*) exit 1;; esac\nexit 0\n')
    numactl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    pinning = find_pinning(read_topology())
    assert (pinning.method, pinning.memory) == ("numactl", False)
    assert "SYS_NICE" in (pinning.notice or "")


def test_environment_of_an_instance() -> None:
    inherited = {
        "PATH": "/bin",
        "OMP_NUM_THREADS": "64",
        "OMP_PROC_BIND": "spread",
        "KMP_AFFINITY": "compact",
        "GOMP_SPINCOUNT": "0",
        "MKL_NUM_THREADS": "3",
        "ONEDNN_VERBOSE": "1",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "PYTHONPATH": "/elsewhere",
    }
    environment = instance_environment([4, 5, 6], inherited)
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["GOMP_CPU_AFFINITY"] == "4 5 6"
    assert environment["PATH"] == "/bin"
    assert environment["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert not {*inherited} - {"PATH", "PYTHONPATH", "OMP_NUM_THREADS", "ONEDNN_MAX_CPU_ISA"} & {
        *environment
    }
    assert environment["PYTHONPATH"].endswith(":/elsewhere")


def test_a_child_that_does_not_heed_sigterm_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('deaf', flush=True); time.sleep(60)"
    )
    with Signals() as signals:
        child = start(
            "deaf",
            [sys.executable, "-c", code],
            log=tmp_path / "deaf.log",
            environment=base_environment(),
        )
        while child.last_words() != "deaf":
            assert child.ended() is None
            signals.wait(0.02)
        end_all([child], signals, patience_s=0.1)
    code_of_end = child.ended()
    assert code_of_end is not None
    assert describe_end(code_of_end) == "was killed by SIGKILL"


def test_descendants_go_with_the_child(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time;"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    with Signals() as signals:
        child = start(
            "parent",
            [sys.executable, "-c", code],
            log=tmp_path / "parent.log",
            environment=base_environment(),
        )
        while not child.last_words():
            signals.wait(0.02)
        grandchild = int(child.last_words())
        end_all([child], signals, patience_s=5)
        while Path(f"/proc/{grandchild}").exists() and "Z" not in state(grandchild):
            signals.wait(0.02)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot start ghost"):
        start("ghost", ["/nonexistent"], log=tmp_path / "x.log", environment={})


def test_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log) == ""
    log.write_text("\n".join(f"line {i}" for i in range(5000)) + "\n\n")
    assert last_lines(log, 2) == "line 4998\nline 4999"
    assert error_line("a\nnetrun 3: error: no such file\nb") == "no such file"
    assert error_line("nothing of the kind") is None
