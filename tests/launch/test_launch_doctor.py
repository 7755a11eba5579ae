"""What doctor says of machines that are as they should be, and of others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from machines import VIRTUAL, Machine

from launch.machine.doctor.finding import Finding, Level
from launch.machine.doctor.machine import check_machine
from launch.machine.doctor.system import check_system
from launch.machine.pinning import Pinning
from launch.machine.quiet import Watch
from launch.machine.topology import read_topology
from launch.supervise.environment import PACKAGE_ROOT, base_environment
from shm.control import ControlBlock
from shm.owner import Owner
from shm.reclaim import reclaim

FLAGS = "sse4_1 avx avx2 avx512f avx512bw avx512dq avx512vl avx512_vnni"
SMALL = Machine(sockets=2, cores=2, threads=2)
CPU0 = "sys/devices/system/cpu/cpu0"


def found(root: Path, machine: Machine, files: dict[str, str]) -> dict[str, Finding]:
    tree = Machine(**{**vars(machine), "files": {"proc/cpuinfo": f"flags\t: {FLAGS}", **files}})
    return {f.check: f for f in check_machine(tree.topology(root), root, {})}


def test_a_machine_as_it_should_be(tmp_path: Path) -> None:
    files = {
        f"{CPU0}/cpufreq/scaling_governor": "performance",
        "sys/devices/system/cpu/intel_pstate/no_turbo": "0",
        "proc/sys/kernel/numa_balancing": "0",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
        f"{CPU0}/thermal_throttle/core_throttle_count": "0",
    }
    findings = found(tmp_path, SMALL, files)
    assert {finding.level for finding in findings.values()} == {Level.OK}
    assert set(findings) >= {"governor", "turbo", "SMT", "NUMA balancing", "huge pages"}
    assert findings["SMT"].found == "4 cores, 4 siblings, which a plan leaves idle"


@pytest.mark.parametrize(
    ("check", "path", "text", "level", "cure"),
    [
        ("instructions", "proc/cpuinfo", "flags\t: avx avx2", Level.NOTE, "VNNI"),
        ("instructions", "proc/cpuinfo", "Features\t: asimd", Level.NOTE, "--engine pytorch"),
        ("governor", f"{CPU0}/cpufreq/scaling_governor", "powersave", Level.MATTERS, "cpupower"),
        ("turbo", "sys/devices/system/cpu/cpufreq/boost", "0", Level.NOTE, "echo 1 >"),
        ("turbo", "sys/devices/system/cpu/intel_pstate/no_turbo", "1", Level.NOTE, "echo 0 >"),
        ("NUMA balancing", "proc/sys/kernel/numa_balancing", "1", Level.MATTERS, "sysctl"),
        (
            "huge pages",
            "sys/kernel/mm/transparent_hugepage/enabled",
            "always madvise [never]",
            Level.NOTE,
            "echo madvise >",
        ),
        ("throttling", f"{CPU0}/thermal_throttle/core_throttle_count", "9", Level.NOTE, "cool"),
        ("cgroup quota", "sys/fs/cgroup/cpu.max", "150000 100000", Level.MATTERS, "--cpuset-cpus"),
    ],
)
def test_each_trouble_has_its_effect_and_cure(
    tmp_path: Path, check: str, path: str, text: str, level: Level, cure: str
) -> None:
    findings = found(tmp_path, SMALL, {path: text, "proc/self/cgroup": "0::/"})
    trouble = findings[check]
    assert trouble.level is level
    assert cure in trouble.cure
    assert trouble.effect
    assert [f for f in findings.values() if f.level is Level.MATTERS and f is not trouble] == []


def test_a_container_sees_part_of_the_machine(tmp_path: Path) -> None:
    findings = found(tmp_path, Machine(cores=8, allowed=(2, 3), offline=(7,)), {})
    assert findings["processors"].found == "2 of 7 (2-3)"
    assert findings["offline processors"].found == "7"


@pytest.mark.alone
def test_what_a_dead_run_left_matters(tmp_path: Path) -> None:
    topology = VIRTUAL.topology(tmp_path)
    pinning = Pinning("/usr/bin/numactl", True, None)
    run_id = "doctortest"
    with ControlBlock.create(run_id, 1) as control:
        findings = list(check_system(topology, pinning))
        assert any(f.check == "other runs" and run_id in f.found for f in findings)
        with Path(f"/dev/shm/loadrun.{run_id}.control").open("r+b") as file:
            file.seek(24)
            file.write((Owner.current().start_time + 1).to_bytes(8, "little"))
        (leftovers,) = [f for f in check_system(topology, pinning) if f.check == "leftovers"]
        assert (leftovers.level, leftovers.cure) == (Level.MATTERS, "loadrun clean")
        reclaim(run_id)
        control.close()


def test_the_command_gives_json_and_an_exit_code() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "launch.cli", "doctor", "--json"],
        cwd=PACKAGE_ROOT,
        env=base_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    document = json.loads(done.stdout)
    matter = [f for f in document["findings"] if f["level"] == "matters"]
    assert done.returncode == (3 if matter else 0)
    for finding in document["findings"]:
        assert (finding["level"] == "ok") == (not finding["effect"] and not finding["cure"])
    assert {"shared memory", "memlock", "pinning", "compiler", "packages", "leftovers"} <= {
        finding["check"] for finding in document["findings"]
    }
    assert document["host"]["cores"] == len(read_topology().cores)


def write_counters(root: Path, user: int, idle: int, steal: int, throttled_us: int = 0) -> None:
    # cpu1 is not among the allowed processors.
    lines = [f"cpu0 {user} 0 0 {idle} 0 0 0 {steal} 0 0", "cpu1 99 9 9 9 0 0 0 9999 0 0"]
    (root / "proc/stat").write_text("\n".join(["cpu  1 1 1 1 1 1 1 1 0 0", *lines, "intr 5"]))
    (root / "sys/fs/cgroup").mkdir(parents=True, exist_ok=True)
    (root / "sys/fs/cgroup/cpu.stat").write_text(f"usage_usec 1\nthrottled_usec {throttled_us}\n")


@pytest.mark.parametrize(
    ("user", "idle", "steal", "throttled_us", "expected"),
    [
        (1000, 9000, 0, 0, ["other processes took 10.0%"]),
        (0, 9700, 300, 0, ["others (steal)"]),
        (0, 10_000, 0, 2_000_000, ["held threads up for 2.0 s"]),
        (0, 10_000, 0, 0, []),
    ],
)
def test_others_are_noticed(
    tmp_path: Path, user: int, idle: int, steal: int, throttled_us: int, expected: list[str]
) -> None:
    topology = Machine(cores=2, allowed=(0,)).topology(tmp_path)
    write_counters(tmp_path, 50, 50, 5)
    watch = Watch(topology, tmp_path)
    write_counters(tmp_path, 50 + user, 50 + idle, 5 + steal, throttled_us)
    seen = watch.disturbance()
    assert seen is not None
    assert len(seen.notices) == len(expected)
    for notice, words in zip(seen.notices, expected, strict=True):
        assert words in notice


def test_a_system_without_counters_is_not_judged(tmp_path: Path) -> None:
    assert Watch(VIRTUAL.topology(tmp_path), tmp_path).disturbance() is None
