"""Recorded machines: their topologies, the plans that follow, the drawings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import MACHINES, RECORDINGS

from base.errors import InputError
from launch.cli import main
from launch.machine.drawing import draw
from launch.machine.lists import format_list
from launch.machine.plan import Plan, make_plan
from launch.machine.recording import Directory, Recorded, Recorder
from launch.machine.topology import Topology, read_topology


def recorded(name: str) -> Topology:
    return read_topology(Recorded.load(RECORDINGS / f"{name}.json"))


def held(plan: Plan) -> list[str]:
    return [format_list(instance.processors) for instance in plan.instances]


@pytest.mark.parametrize("name", ["desktop", "snc2", "container", "hybrid", "arm"])
def test_a_recording_equals_the_machine(name: str, tmp_path: Path) -> None:
    assert recorded(name) == MACHINES[name].topology(tmp_path)


def test_recording_again_changes_nothing(tmp_path: Path) -> None:
    first = Recorded.load(RECORDINGS / "nps4.json")
    recorder = Recorder(first)
    read_topology(recorder)
    again = tmp_path / "again.json"
    again.write_text(recorder.recorded.to_json())
    assert Recorded.load(again).files == first.files


def test_recordings_of_this_machine_hold_nothing_but_processors(tmp_path: Path) -> None:
    recorder = Recorder(Directory(Path("/")))
    topology = read_topology(recorder)
    path = tmp_path / "here.json"
    path.write_text(recorder.recorded.to_json())
    assert read_topology(Recorded.load(path)) == topology
    status = recorder.recorded.read("proc/self/status").splitlines()
    assert {line.split(":")[0] for line in status} <= {"Cpus_allowed_list", "Mems_allowed_list"}


@pytest.mark.parametrize(
    ("name", "plan", "loadrun", "shared"),
    [
        ("desktop", "4 instances x 2 cores (8 processors)", "14-15", False),
        ("dual_28", "14 instances x 4 cores (56 processors)", "110-111", False),
        ("quad_28", "28 instances x 4 cores (112 processors)", "222-223", False),
        ("nps4", "16 instances x 4 cores (64 processors)", "126-127", False),
        ("snc2", "8 instances x 4 cores (32 processors)", "62-63", False),
        ("container", "3 instances x 1 core (3 processors)", "5-6,40", True),
        ("hybrid", "4 instances x 2 cores (8 processors)", "30-31", False),
        ("arm", "16 instances x 4 cores (64 processors)", "0-63", True),
    ],
)
def test_default_plans(name: str, plan: str, loadrun: str, shared: bool) -> None:
    found = make_plan(recorded(name))
    assert (str(found), format_list(found.loadrun), found.shared) == (plan, loadrun, shared)
    assert not found.fitted


def test_performance_cores_serve_and_efficiency_cores_are_loadruns() -> None:
    topology = recorded("hybrid")
    plan = make_plan(topology)
    assert held(plan) == ["0,2", "4,6", "8,10", "12,14"]
    kinds = {p.id: p.efficient for p in topology.processors}
    assert all(kinds[p] for p in plan.loadrun)


def test_more_cores_than_performance_cores_take_efficient_ones_and_say_so() -> None:
    plan = make_plan(recorded("hybrid"), 6, 24)
    assert held(plan)[:2] == ["0,2,4,6", "8,10,12,14"]
    kinds = {p.id: p.efficient for p in recorded("hybrid").processors}
    assert all(len({kinds[p] for p in i.processors}) == 1 for i in plan.instances)
    assert "efficiency cores" in plan.notices[0]


def test_capacities_mark_efficiency_cores_where_no_list_does() -> None:
    base = "sys/devices/system/cpu"
    files = {f"{base}/online": "0-3"}
    capacities = {0: "446", 1: "446", 2: "1024", 3: "990"}
    files |= {f"{base}/cpu{n}/cpu_capacity": text for n, text in capacities.items()}
    topology = read_topology(Recorded(files))
    assert [p.efficient for p in topology.processors] == [True, True, False, False]


def test_a_plan_that_leaves_cores_over_keeps_loadrun_off_busy_caches() -> None:
    # Seven domains are full; the eighth has an instance of 4 fewer: loadrun goes there.
    plan = make_plan(recorded("nps4"), 15, 60)
    free = set(range(64)) - {p for i in plan.instances for p in i.processors}
    assert set(plan.loadrun) <= free
    assert not plan.shared


def test_a_lone_free_core_gives_loadrun_its_sibling_too() -> None:
    plan = make_plan(recorded("desktop"), 7, 7)
    assert plan.loadrun == (7, 15)


def test_unavoidable_straddling_is_named() -> None:
    # One of 5 cores fits into each of the 8 domains of 8; the ninth has to straddle.
    plan = make_plan(recorded("nps4"), 9, 45)
    assert "1 of 9 instances span L3 domains: 8 of 5 cores" in plan.notices[0]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(MACHINES)), st.integers(1, 112), st.integers(1, 28))
def test_no_instance_straddles_needlessly(name: str, instances: int, each: int) -> None:
    topology = _READ.setdefault(name, recorded(name))
    plan = make_plan(topology, instances, instances * each)
    each = plan.cores_per_instance
    used = {p for i in plan.instances for p in i.processors}
    fast = {p.efficient for p in topology.processors if p.id in used}
    domain = {p.id: (p.node, p.l3, p.efficient) for p in topology.processors}
    node = {p.id: p.node for p in topology.processors}
    if len(fast) > 1:
        return
    pool = [p for p in topology.cores if p.efficient in fast]
    for where in (domain, node):
        room: dict[object, int] = {}
        for processor in pool:
            room[where[processor.id]] = room.get(where[processor.id], 0) + 1  # type: ignore[index]
        could = sum(size // each for size in room.values())
        whole = sum(len({where[p] for p in i.processors}) == 1 for i in plan.instances)
        if topology.quota is None:
            assert whole >= min(could, len(plan.instances))


_READ: dict[str, Topology] = {}


def test_the_drawing_of_a_machine_with_its_plan() -> None:
    topology = recorded("container")
    lines = draw(topology, make_plan(topology))
    assert lines[1] == "  allowed here: 5-6,40; CPU quota: 3 processors"
    assert any("L3 of 8 " in line and " 8  9 10 11" in line for line in lines)
    assert any("-  -  -  -  -  0  1  -" in line for line in lines)
    assert any("SMT siblings 40-47, of which 40: 2" in line for line in lines)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("width", [None, 60, 80, 200])
def test_drawings_are_boxes_of_even_width(name: str, width: int | None) -> None:
    topology = recorded(name)
    boxes = [x for x in draw(topology, make_plan(topology), width) if x[0] in "┌│└"]
    assert len({len(line) for line in boxes}) == 1
    assert len(boxes[0]) <= (width or 96)
    drawn = " ".join(boxes)
    assert all(str(p.id) in drawn for p in topology.cores)


def test_topology_command_shows_a_recording(capsys: pytest.CaptureFixture[str]) -> None:
    recording = str(RECORDINGS / "quad_28.json")
    assert main(["topology", "--from", recording, "--instances", "4"]) == 0
    shown = capsys.readouterr().out
    assert "4 sockets, 4 memory nodes" in shown
    assert "4 instances x 28 cores" in shown
    assert "pinning" not in shown
    assert main(["topology", "--from", recording, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["topology"]["processors"]) == 224


def test_topology_command_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "here.json"
    assert main(["topology", "--record", str(path)]) == 0
    assert read_topology(Recorded.load(path)) == read_topology()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "No such file"),
        ("{", "not a recording"),
        ("[]", "not a recording"),
        ('{"recording": 9, "files": {}}', "version 9"),
        ('{"recording": 1, "files": {"a/cpu{x}/b": "1"}}', "here.json: invalid literal"),
        ('{"recording": 1, "files": {}}', "holds no processor"),
    ],
)
def test_bad_recordings_get_one_line(
    text: str | None, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "here.json"
    if text is not None:
        path.write_text(text)
    assert main(["topology", "--from", str(path)]) == 2
    assert expected in capsys.readouterr().err


def test_record_and_from_exclude_each_other() -> None:
    assert main(["topology", "--record", "a", "--from", "b"]) == 2


def test_recorded_errors_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--record"):
        Recorded.load(tmp_path / "none.json")
