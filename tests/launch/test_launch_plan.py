"""Plans for machines of many shapes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import CONTAINER, DUAL_28, NPS4, VIRTUAL, Machine

from launch.configs import instance_spin_us, loadrun_spin_us
from launch.machine.plan import Plan, PlanError, make_plan, unused
from launch.machine.topology import Processor, Topology


def processors(plan: Plan) -> list[tuple[int, ...]]:
    return [i.processors for i in plan.instances]


def test_14_instances_on_56_processors_of_two_sockets(tmp_path: Path) -> None:
    plan = make_plan(DUAL_28.topology(tmp_path), 14, 56)
    assert processors(plan) == [tuple(range(4 * i, 4 * i + 4)) for i in range(14)]
    assert [i.memory_node for i in plan.instances] == [0] * 7 + [1] * 7
    assert not plan.fitted
    assert plan.notices == ()
    # All cores are busy: loadrun takes idle SMT siblings rather than an instance's core.
    assert plan.loadrun == (110, 111)
    assert not plan.shared
    assert not plan.spins


def test_loadrun_spins_on_whole_cores_that_no_quota_counts(tmp_path: Path) -> None:
    plan = make_plan(DUAL_28.topology(tmp_path / "free"), 13, 52)
    assert plan.loadrun == (54, 55)
    assert plan.spins
    assert loadrun_spin_us(plan.spins, "Server") > 1e5
    assert loadrun_spin_us(plan.spins, "Offline") == 100.0
    assert instance_spin_us(plan.spins, plan.oversubscribed) == 1000.0
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "350000 100000"}
    bounded = make_plan(Machine(cores=8, files=files).topology(tmp_path / "bounded"), 2, 2)
    assert not bounded.shared
    assert not bounded.spins
    crowded = make_plan(VIRTUAL.topology(tmp_path / "crowded"), 3, 3, oversubscribe=True)
    for plan, instance_us in ((bounded, 100.0), (crowded, 0.0)):
        assert loadrun_spin_us(plan.spins, "Server") == 100.0
        assert instance_spin_us(plan.spins, plan.oversubscribed) == instance_us


def test_14_instances_on_56_processors_fitted_to_two(tmp_path: Path) -> None:
    plan = make_plan(VIRTUAL.topology(tmp_path), 14, 56)
    assert processors(plan) == [(0,), (1,)]
    assert plan.fitted
    assert plan.requested == (14, 56)
    assert "14 instances on 56 processors" in plan.notices[0]
    assert "2 instances x 1 core" in plan.notices[0]
    assert plan.shared
    assert plan.loadrun == (0, 1)


def test_fitting_keeps_instances_before_cores(tmp_path: Path) -> None:
    plan = make_plan(Machine(cores=28).topology(tmp_path), 14, 56)
    assert (len(plan.instances), plan.cores_per_instance) == (14, 2)


def test_strict_refuses_and_names_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="needs 56 cores, this machine has 2"):
        make_plan(VIRTUAL.topology(tmp_path), 14, 56, strict=True)


def test_oversubscribe_runs_as_asked(tmp_path: Path) -> None:
    plan = make_plan(VIRTUAL.topology(tmp_path), 3, 3, oversubscribe=True)
    assert processors(plan) == [(0,), (1,), (0,)]
    assert plan.oversubscribed
    assert not plan.fitted
    assert "oversubscribed" in plan.notices[0]


def test_oversubscribe_takes_smt_siblings_before_sharing(tmp_path: Path) -> None:
    machine = Machine(cores=2, threads=2)
    plan = make_plan(machine.topology(tmp_path), 4, 4, oversubscribe=True)
    assert processors(plan) == [(0,), (1,), (2,), (3,)]


def test_container_with_3_of_64_processors(tmp_path: Path) -> None:
    topology = CONTAINER.topology(tmp_path)
    assert processors(make_plan(topology)) == [(5,), (6,), (40,)]
    plan = make_plan(topology, 2, 2)
    assert [p for own in processors(plan) for p in own] + list(plan.loadrun) == [5, 6, 40]
    assert not plan.shared


def test_instances_stay_within_l3_domains(tmp_path: Path) -> None:
    topology = NPS4.topology(tmp_path)
    domain = {p.id: (p.node, p.l3) for p in topology.processors}
    plan = make_plan(topology)
    assert (len(plan.instances), plan.cores_per_instance) == (16, 4)
    for instance in plan.instances:
        assert len({domain[p] for p in instance.processors}) == 1
    # 3 cores each: two instances to a domain of 8, and the rest is used only by need.
    plan = make_plan(topology, 16, 48)
    for instance in plan.instances:
        assert len({domain[p] for p in instance.processors}) == 1
    assert len(unused(topology, plan)[0]) == 14
    assert len(plan.loadrun) == 2


def test_few_instances_are_spread_over_nodes(tmp_path: Path) -> None:
    plan = make_plan(NPS4.topology(tmp_path), 4, 16)
    assert [i.memory_node for i in plan.instances] == [0, 1, 2, 3]


def test_an_instance_wider_than_a_domain_stays_in_its_node(tmp_path: Path) -> None:
    plan = make_plan(NPS4.topology(tmp_path), 4, 48)
    assert [i.memory_node for i in plan.instances] == [0, 1, 2, 3]
    assert plan.notices == ()


def test_an_instance_wider_than_a_node_is_named(tmp_path: Path) -> None:
    plan = make_plan(DUAL_28.topology(tmp_path), 1, 56)
    assert plan.instances[0].memory_node is None
    assert "span NUMA nodes" in plan.notices[0]


def test_quota_bounds_the_plan(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "350000 100000"}
    plan = make_plan(Machine(cores=8, files=files).topology(tmp_path))
    assert processors(plan) == [(0,), (1,), (2,)]
    assert "quota is 3.5 processors" in plan.notices[0]


@pytest.mark.parametrize(
    ("cores", "instances", "each"), [(1, 1, 1), (2, 2, 1), (7, 7, 1), (8, 4, 2), (16, 4, 4)]
)
def test_defaults(tmp_path: Path, cores: int, instances: int, each: int) -> None:
    plan = make_plan(Machine(cores=cores).topology(tmp_path))
    assert (len(plan.instances), plan.cores_per_instance) == (instances, each)


def test_default_cores_divide_the_domains(tmp_path: Path) -> None:
    # Four L3 domains of 6 cores: 4 each would leave 8 of 24 cores over, 3 each none.
    plan = make_plan(Machine(cores=24, domains=4).topology(tmp_path))
    assert (len(plan.instances), plan.cores_per_instance) == (8, 3)


def test_one_number_given(tmp_path: Path) -> None:
    topology = DUAL_28.topology(tmp_path)
    plan = make_plan(topology, instances=7)
    assert (len(plan.instances), plan.cores_per_instance) == (7, 8)
    plan = make_plan(topology, cores=16)
    assert (len(plan.instances), plan.cores_per_instance) == (4, 4)


def test_left_over_processors_are_named(tmp_path: Path) -> None:
    plan = make_plan(DUAL_28.topology(tmp_path), 5, 54)
    assert (len(plan.instances), plan.cores_per_instance) == (5, 10)
    assert "4 left over" in plan.notices[0]


@pytest.mark.parametrize(
    ("instances", "cores", "expected"),
    [(0, None, "--instances 0"), (None, -1, "--cores -1"), (4, 2, "--cores 4 or more")],
)
def test_impossible_requests(
    tmp_path: Path, instances: int | None, cores: int | None, expected: str
) -> None:
    with pytest.raises(PlanError, match=expected):
        make_plan(VIRTUAL.topology(tmp_path), instances, cores)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Machines of uneven nodes and domains, with some processors forbidden."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    domains_per_node = draw(st.integers(1, 3))
    threads = draw(st.integers(1, 2))
    found: list[Processor] = []
    total = sum(sizes)
    core = 0
    for domain, size in enumerate(sizes):
        node = domain // domains_per_node
        first = core
        for _ in range(size):
            for thread in range(threads):
                allowed = draw(st.integers(0, 9)) > 0 or not found
                found.append(
                    Processor(core + thread * total, core, node, node, first, thread, allowed)
                )
            core += 1
    return Topology(tuple(sorted(found, key=lambda p: p.id)), frozenset({p.node for p in found}))


@settings(max_examples=300, deadline=None)
@given(
    topologies(),
    st.one_of(st.none(), st.integers(1, 40)),
    st.one_of(st.none(), st.integers(1, 80)),
)
def test_every_plan_is_sound(topology: Topology, instances: int | None, cores: int | None) -> None:
    if instances and cores and cores < instances:
        cores = None
    plan = make_plan(topology, instances, cores)
    used = [p for i in plan.instances for p in i.processors]
    allowed = {p.id for p in topology.allowed}
    core_of = {p.id: p.core for p in topology.processors}
    assert used
    assert len(set(used)) == len(used), "no processor has two instances"
    assert len({core_of[p] for p in used}) == len(used), "no core has two instances"
    assert set(used) <= allowed
    assert set(plan.loadrun) <= allowed
    assert plan.shared or not set(plan.loadrun) & set(used)
    assert len({len(i.processors) for i in plan.instances}) == 1
    if instances and instances <= len(topology.cores):
        assert len(plan.instances) == instances
    if instances and cores and cores <= len(topology.cores):
        assert not plan.fitted
    # No instance straddles domains while a whole domain that could hold it stands empty.
    domain = {p.id: (p.node, p.l3) for p in topology.processors}
    straddling = [i for i in plan.instances if len({domain[p] for p in i.processors}) > 1]
    if straddling:
        idle: dict[tuple[int, int], int] = {}
        for processor in topology.cores:
            if processor.id not in used:
                key = domain[processor.id]
                idle[key] = idle.get(key, 0) + 1
        assert max(idle.values(), default=0) < plan.cores_per_instance
