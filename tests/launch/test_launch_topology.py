"""Reading /sys: sockets, nodes, L3 domains, SMT, cpuset, quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from machines import CONTAINER, DUAL_28, NPS4, VIRTUAL, Machine

from launch.machine.topology import format_list, parse_list, read_topology


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0-3,8,10-11\n", [0, 1, 2, 3, 8, 10, 11]), ("", []), ("7", [7]), ("0-0", [0])],
)
def test_the_kernels_list_format(text: str, numbers: list[int]) -> None:
    assert parse_list(text) == numbers
    assert parse_list(format_list(numbers)) == numbers


def test_virtual_machine_of_two_cores(tmp_path: Path) -> None:
    topology = VIRTUAL.topology(tmp_path)
    assert [p.id for p in topology.cores] == [0, 1]
    assert topology.siblings == ()
    assert (topology.sockets, topology.nodes, topology.quota) == (1, (0,), None)


def test_two_sockets_with_smt(tmp_path: Path) -> None:
    topology = DUAL_28.topology(tmp_path)
    assert [p.id for p in topology.cores] == list(range(56))
    assert [p.id for p in topology.siblings] == list(range(56, 112))
    assert topology.sockets == 2
    processors = {p.id: p for p in topology.processors}
    assert (processors[28].socket, processors[28].node, processors[28].l3) == (1, 1, 28)
    assert (processors[84].core, processors[84].thread, processors[84].node) == (28, 1, 1)


def test_container_sees_its_cpuset_only(tmp_path: Path) -> None:
    topology = CONTAINER.topology(tmp_path)
    # 40 is the second thread of core 8, whose first thread is not allowed: it stands for the core.
    assert [p.id for p in topology.cores] == [5, 6, 40]
    assert topology.siblings == ()
    assert len(topology.processors) == 64


def test_nodes_and_l3_domains(tmp_path: Path) -> None:
    topology = NPS4.topology(tmp_path)
    assert topology.nodes == (0, 1, 2, 3)
    assert sorted({p.l3 for p in topology.processors}) == list(range(0, 64, 8))


def test_offline_processors_are_named_and_not_used(tmp_path: Path) -> None:
    topology = Machine(cores=4, offline=(2,)).topology(tmp_path)
    assert topology.offline == (2,)
    assert [p.id for p in topology.cores] == [0, 1, 3]


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "200000 100000",
                "sys/fs/cgroup/a/b/cpu.max": "400000 100000",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/x\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
    ],
    ids=["v2", "v2 unlimited", "v2 parent is tighter", "v1 in a container", "v1 unlimited"],
)
def test_cgroup_quota(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    assert Machine(cores=8, files=files).topology(tmp_path).quota == quota


def test_without_sys_every_allowed_processor_is_a_core(tmp_path: Path) -> None:
    status = tmp_path / "proc/self/status"
    status.parent.mkdir(parents=True)
    status.write_text("Cpus_allowed_list:\t2-4\n")
    topology = read_topology(tmp_path)
    assert [p.id for p in topology.cores] == [2, 3, 4]
    assert topology.nodes == (0,)


def test_this_machine_agrees_with_the_scheduler() -> None:
    assert {p.id for p in read_topology().allowed} == os.sched_getaffinity(0)
