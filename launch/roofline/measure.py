"""One roofline from checked options to table, picture and JSON."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import models
from base.errors import ExitCode, InputError, InterruptedRunError, RunError
from base.files import write_text
from launch.assets import Assets
from launch.environment import MAX_CPU_ISA, instance_environment
from launch.host import host, versions
from launch.instructions import features
from launch.pinning import Pinning, find_pinning
from launch.plan import InstancePlan, make_plan
from launch.prepare import prepare
from launch.processes import Child, describe_end, end_all, error_line, start
from launch.results import write_json
from launch.roofline.figures import from_measurement
from launch.roofline.options import RooflineOptions
from launch.roofline.picture import draw as picture
from launch.roofline.table import draw, limits, totals
from launch.signals import Signals
from launch.tail import Tail
from launch.terminal import Bar, Terminal
from launch.topology import Topology, format_list, read_topology
from netrun.roofline.config import RooflineConfig

SCHEMA = 1
POLL_S = 0.1
LEAVE_S = 5.0


def roofline(options: RooflineOptions) -> ExitCode:
    """Measure, then show and write what was found; LoadrunError where that cannot be done."""
    terminal = Terminal(sys.stderr if options.json_on_stdout else sys.stdout)
    topology = read_topology()
    instance = _instance(topology, options.cores)
    pinning = find_pinning(topology)
    title = f"{models.get(options.model).title}, int8, batch size {options.batch_size}"
    machine = _machine(topology, instance)
    terminal.line(f"{title}: roofline")
    terminal.line(f"  machine: {machine}")
    terminal.line(f"  weights: {options.sources.weights or 'synthetic'}")
    if pinning.notice:
        terminal.line(f"  note: {pinning.notice}")
    with Signals() as signals, tempfile.TemporaryDirectory(prefix="loadrun-roofline-") as folder:
        directory = Path(folder)
        assets = prepare(options, instance.processors, directory, terminal, signals)
        child = _start(options, instance, pinning, assets, directory)
        measured = _result(child, directory, terminal, signals)
    found = from_measurement(measured, options.batch_size)
    record = {
        "schema": SCHEMA,
        "command": list(options.command),
        "model": options.model,
        "synthetic": _synthetic(assets),
        "processors": list(instance.processors),
        "host": host(topology),
        "versions": {**versions(), "onednn": measured.pop("library")},
        **found.as_json(),
        "machine": {k: v for k, v in measured.items() if k not in ("layers", "whole_s")},
    }
    terminal.line()
    table, left_out = draw(found, terminal.width)
    terminal.table(table)
    if left_out:
        terminal.line(f"(a wider terminal or a pipe also shows: {', '.join(left_out)})")
    terminal.line()
    terminal.lines(limits(measured))
    terminal.lines(totals(found))
    if _synthetic(assets):
        terminal.line("synthetic weights: another network's numbers, the same work and times")
    write_text(options.picture_path, picture(found, title, machine))
    terminal.line(f"picture: {options.picture_path}")
    if options.json_on_stdout:
        print(json.dumps(record, indent=1))
    else:
        write_json(options.json_path, record)
        terminal.line(f"figures: {options.json_path}")
    return ExitCode.OK


def _instance(topology: Topology, cores: int) -> InstancePlan:
    plan = make_plan(topology, 1, cores)
    if plan.fitted:
        most = plan.cores_per_instance
        raise InputError(f"--cores {cores}: this machine has {most} to use (--cores {most})")
    return plan.instances[0]


def _machine(topology: Topology, instance: InstancePlan) -> str:
    """The machine by its processor, what it can do for int8, and the part of it that is used."""
    known = ", ".join(features()) or "no known int8 features"
    bound = (
        f", held to {MAX_CPU_ISA}={os.environ[MAX_CPU_ISA]}" if MAX_CPU_ISA in os.environ else ""
    )
    count = len(instance.processors)
    used = f"{count} core{'s' * (count > 1)} (processor {format_list(instance.processors)})"
    return f"{topology.name} ({known}{bound}), {used}"


def _synthetic(assets: Assets) -> bool:
    return assets.weights is None or assets.weights.synthetic


def _start(
    options: RooflineOptions,
    instance: InstancePlan,
    pinning: Pinning,
    assets: Assets,
    directory: Path,
) -> Child:
    assert assets.artifact is not None
    config = RooflineConfig(
        artifact=assets.artifact,
        samples=assets.samples,
        batch_size=options.batch_size,
        processors=list(instance.processors),
        seconds=options.seconds,
        result=str(directory / "result.json"),
    )
    path = directory / "roofline.config.json"
    path.write_text(config.to_json())
    return start(
        "roofline",
        [sys.executable, "-m", "netrun.roofline", str(path)],
        log=directory / "roofline.log",
        environment=instance_environment(instance.processors),
        pinning=pinning,
        processors=instance.processors,
        memory_node=instance.memory_node,
    )


def _result(child: Child, directory: Path, terminal: Terminal, signals: Signals) -> dict[str, Any]:
    """Wait for the measurement, with progress; its result."""
    try:
        with terminal.bar("measuring") as bar:
            _watch(child, bar, signals)
    finally:
        end_all([child], signals, patience_s=LEAVE_S)
    code = child.ended()
    assert code is not None
    if code != 0:
        words = child.last_words()
        raise RunError(error_line(words) or f"measuring {describe_end(code)}:\n{words}")
    values: dict[str, Any] = json.loads((directory / "result.json").read_text())
    return values


def _watch(child: Child, bar: Bar, signals: Signals) -> None:
    output = Tail(child.log)
    while child.ended() is None:
        for line in output.lines():
            if line.startswith('{"done"'):
                step = json.loads(line)
                bar.update(step["done"], step["total"], "peak, memory and every layer, in turns")
        signals.wait(POLL_S)
        if signals.ending is not None:
            raise InterruptedRunError(f"interrupted by {signals.ending.name}")
