"""What run.json says of the host and of what loadrun reported."""

from __future__ import annotations

from dataclasses import asdict

import pytest

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


@pytest.mark.parametrize(("engine", "expected"), [("null", None), ("sim", 0.5)])
def test_an_engine_without_work_has_no_harness_efficiency(
    engine: str, expected: float | None
) -> None:
    parser = Parser()
    add_arguments(parser)
    options = read_options(parser.parse_args(["resnet50", "--engine", engine]))
    topology = read_topology()
    plan = plan_for(options, topology)
    record = Record(options, plan, find_pinning(topology), topology, "abcd")
    record.report(asdict(Report("loadrun.json", harness_efficiency=0.5)))
    assert record.values["harness_efficiency"] == expected
