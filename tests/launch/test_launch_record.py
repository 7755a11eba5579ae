"""What run.json says of the host and of what loadrun reported."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from launch.assets import Assets, DataFacts
from launch.cli import Parser
from launch.commands.run import add_arguments, read_options
from launch.host import host
from launch.pinning import find_pinning
from launch.record import Record
from launch.run import plan_for
from launch.topology import read_topology
from loadrun.report import Report


@pytest.mark.parametrize("bound", [None, "AVX2"])
def test_the_bound_on_the_instruction_set_is_recorded(
    monkeypatch: pytest.MonkeyPatch, bound: str | None
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if bound is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", bound)
    assert host(read_topology())["max_cpu_isa"] == bound


def record_of(*words: str) -> Record:
    parser = Parser()
    add_arguments(parser)
    options = read_options(parser.parse_args(["resnet50", *words]))
    topology = read_topology()
    plan = plan_for(options, topology)
    return Record(options, plan, find_pinning(topology), topology, "abcd")


def test_what_was_told_while_building_stays_beside_what_loadrun_notes() -> None:
    record = record_of()
    data = DataFacts("synthetic", "0", True)
    built = Assets("resnet50", "s.npy", 3, None, data, None, None, None, ["only slow kernels"])
    record.assets(built)
    assert record.values["notes"] == ["only slow kernels"]
    record.report(asdict(Report("loadrun.json", notes=["coalesced"])))
    assert record.values["notes"] == ["only slow kernels", "coalesced"]


@pytest.mark.parametrize(("engine", "expected"), [("null", None), ("sim", 0.5)])
def test_an_engine_without_work_has_no_harness_efficiency(
    engine: str, expected: float | None
) -> None:
    record = record_of("--engine", engine)
    record.report(asdict(Report("loadrun.json", harness_efficiency=0.5)))
    assert record.values["harness_efficiency"] == expected
