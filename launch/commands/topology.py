"""`loadrun topology`: what was found, and which plan follows."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from itertools import groupby

from launch.commands.run import count
from launch.topology import Processor, Topology, format_list

SUMMARY = "show processors, caches and memory nodes, and the plan that follows"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a plan."""
    parser.description = "Shows what was found of this machine and which plan follows from it."
    parser.add_argument("--instances", type=count, metavar="N", help="plan for N instances")
    parser.add_argument("--cores", type=count, metavar="N", help="on N processors in total")
    parser.add_argument("--strict", action="store_true", help="too large a plan is an error")
    parser.add_argument("--oversubscribe", action="store_true", help="plan as asked, sharing")
    parser.add_argument("--json", action="store_true", help="print JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Print topology and plan."""
    from launch.pinning import find_pinning
    from launch.plan import describe, make_plan
    from launch.terminal import Terminal
    from launch.topology import read_topology

    topology = read_topology()
    plan = make_plan(
        topology,
        arguments.instances,
        arguments.cores,
        strict=arguments.strict,
        oversubscribe=arguments.oversubscribe,
    )
    pinning = find_pinning(topology)
    if arguments.json:
        found = {**asdict(topology), "memory_nodes": sorted(topology.memory_nodes)}
        print(
            json.dumps(
                {"topology": found, "plan": plan.as_json(), "pinning": asdict(pinning)}, indent=1
            )
        )
        return 0
    terminal = Terminal()
    terminal.lines(draw(topology))
    for notice in plan.notices:
        terminal.box("PLAN", notice)
    terminal.line()
    terminal.line("plan: " + "\n".join(describe(topology, plan)))
    memory = "with their memory node" if pinning.memory else "without a memory node"
    terminal.line(f"pinning: {pinning.method}, {memory}")
    if pinning.notice:
        terminal.line(f"note: {pinning.notice}")
    return 0


def draw(topology: Topology) -> list[str]:
    """The machine as lines: sockets, nodes, L3 domains, cores with their SMT siblings."""
    lines = [
        f"{topology.name}: {_plural(topology.sockets, 'socket')},"
        f" {_plural(len(topology.nodes), 'memory node')},"
        f" {_plural(len({p.l3 for p in topology.processors}), 'L3 domain')},"
        f" {_plural(len({p.core for p in topology.processors}), 'core')},"
        f" {_plural(len(topology.processors), 'processor')}"
    ]
    limits = []
    if len(topology.allowed) < len(topology.processors):
        limits.append(f"allowed here: {format_list([p.id for p in topology.allowed])}")
    if topology.quota is not None:
        limits.append(f"CPU quota: {topology.quota:g} processors")
    if topology.offline:
        limits.append(f"offline: {format_list(topology.offline)}")
    if limits:
        lines.append("  " + "; ".join(limits))

    def place(processor: Processor) -> tuple[int, int, int]:
        return processor.socket, processor.node, processor.l3

    ordered = sorted(topology.processors, key=lambda p: (place(p), p.id))
    for (socket, node, l3), group in groupby(ordered, key=place):
        members = list(group)
        threads = [
            format_list([p.id for p in members if p.thread == rank])
            for rank in sorted({p.thread for p in members})
        ]
        siblings = f" (SMT siblings {' '.join(threads[1:])})" if threads[1:] else ""
        lines.append(f"  socket {socket}  node {node}  L3 of {l3}: cores {threads[0]}{siblings}")
    return lines


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
