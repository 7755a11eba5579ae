"""`loadrun topology`: what was found, and which plan follows."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from base.errors import InputError
from base.files import write_text
from launch.commands.arguments import EXIT_CODES, add_like_run

SUMMARY = "show processors, caches and memory nodes, and the plan that follows"
DESCRIPTION = """\
Shows what was found of a machine, this one or a recorded one, and which plan follows: processors of
each instance and of loadrun, memory nodes, what stays idle. A recording (--record) holds what the
kernel says of a machine, and lets a plan be made elsewhere (--from).
"""
EPILOG = f"""\
examples:
  loadrun topology
  loadrun topology --instances 14 --cores 56 --strict
  loadrun topology --record server.json
  loadrun topology --from server.json --instances 14

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a plan."""
    add_like_run(
        parser,
        "plan",
        instances="plan for N instances",
        cores="on N processors in total",
        strict="too large a plan is an error",
        oversubscribe="plan as asked, sharing",
    )
    machine = parser.add_argument_group("machine and output")
    machine.add_argument(
        "--record", metavar="FILE", help="write what this machine tells of itself to FILE"
    )
    machine.add_argument("--from", dest="source", metavar="FILE", help="show a recorded machine")
    machine.add_argument("--json", action="store_true", help="print JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Print topology and plan, or record them."""
    from launch.machine.drawing import draw
    from launch.machine.pinning import find_pinning
    from launch.machine.plan import describe, make_plan
    from launch.machine.recording import Directory, Recorded, Recorder
    from launch.machine.topology import read_topology
    from launch.screen.terminal import Terminal

    if arguments.record and arguments.source:
        raise InputError("--record and --from exclude each other: leave one out")
    if arguments.source:
        topology = read_topology(Recorded.load(Path(arguments.source)))
        if not topology.allowed:
            raise InputError(f"--from {arguments.source}: the recording holds no processor")
    else:
        recorder = Recorder(Directory(Path("/")))
        topology = read_topology(recorder)
        if arguments.record:
            _write(Path(arguments.record), recorder.recorded.to_json())
    plan = make_plan(
        topology,
        arguments.instances,
        arguments.cores,
        strict=arguments.strict,
        oversubscribe=arguments.oversubscribe,
    )
    # How processes are bound is a fact of this machine, whatever plan is shown.
    pinning = None if arguments.source else find_pinning(topology)
    if arguments.json:
        found = {**asdict(topology), "memory_nodes": sorted(topology.memory_nodes)}
        bound = asdict(pinning) if pinning else None
        values = {"topology": found, "plan": plan.as_json(), "pinning": bound}
        print(json.dumps(values, indent=1))
        return 0
    terminal = Terminal()
    terminal.lines(draw(topology, plan, terminal.width))
    for notice in plan.notices:
        terminal.box("PLAN", notice)
    terminal.line()
    terminal.line("plan: " + "\n".join(describe(topology, plan)))
    if pinning:
        memory = "with their memory node" if pinning.memory else "without a memory node"
        terminal.line(f"pinning: {pinning.method}, {memory}")
        if pinning.notice:
            terminal.line(f"note: {pinning.notice}")
    if arguments.record:
        terminal.line(f"recorded: {arguments.record} (loadrun topology --from shows it)")
    return 0


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"--record {path}: {error.strerror}") from None
