"""A machine and a plan as a drawing for the terminal.

A box for each socket; in it a line for each L3 domain (efficiency cores on lines of their own),
under the processors who has them, and idle SMT siblings beside.
"""

from __future__ import annotations

from itertools import groupby

from launch.machine.lists import format_list
from launch.machine.plan import Plan
from launch.machine.topology import Processor, Topology

WIDTH = 96
NARROWEST = 60
KEY = "0, 1, ...: instance   L: loadrun   .: idle   -: not allowed here"


def draw(topology: Topology, plan: Plan | None = None, width: int | None = None) -> list[str]:
    """The machine as lines at most `width` columns wide; with `plan`, who has which processor."""
    inner = max(min(width or WIDTH, WIDTH), NARROWEST) - 4
    owners = _owners(topology, plan)
    cell = max(len(text) for text in (*owners.values(), *(str(i) for i in owners)))
    lines = [_heading(topology), *_limits(topology)]
    ordered = sorted(topology.processors, key=lambda p: (p.socket, p.node, p.l3, p.efficient, p.id))
    for socket, members in groupby(ordered, key=lambda p: p.socket):
        body: list[str] = []
        for node, in_node in groupby(members, key=lambda p: p.node):
            memory = "" if node in topology.memory_nodes else " (no memory)"
            body.append(f"memory node {node}{memory}")
            for (l3, efficient), domain in groupby(in_node, key=lambda p: (p.l3, p.efficient)):
                kind = " efficiency cores" if efficient else ""
                body += _domain(f"  L3 of {l3}{kind}", list(domain), owners, cell, inner)
        title = f" socket {socket} "
        lines.append("┌" + title + "─" * (inner + 2 - len(title)) + "┐")
        lines += [f"│ {text:<{inner}} │" for text in body]
        lines.append("└" + "─" * (inner + 2) + "┘")
    if plan is not None:
        lines.append(KEY)
    return lines


def _domain(
    title: str, members: list[Processor], owners: dict[int, str], cell: int, width: int
) -> list[str]:
    first = [p for p in members if p.thread == 0] or members
    others = [p for p in members if p not in first]
    indent = 16 if " efficiency" not in title else 28
    each = max((width - indent) // (cell + 1), 1)
    lines = []
    for at in range(0, len(first), each):
        row = first[at : at + each]
        head = title if at == 0 else ""
        lines.append(f"{head:<{indent}}" + " ".join(f"{p.id:>{cell}}" for p in row))
        if any(owners[p.id] for p in row):
            lines.append(" " * indent + " ".join(f"{owners[p.id]:>{cell}}" for p in row))
    if others:
        text = f"SMT siblings {format_list([p.id for p in others])}"
        # A sibling can stand for its core, or be loadrun's.
        busy = [p for p in others if owners[p.id] not in ("", ".", "-")]
        if busy:
            text += ", of which " + ", ".join(f"{p.id}: {owners[p.id]}" for p in busy)
        lines.append((" " * indent + text)[:width])
    return lines


def _owners(topology: Topology, plan: Plan | None) -> dict[int, str]:
    owners = {p.id: "-" if not p.allowed else "." if plan else "" for p in topology.processors}
    if plan is not None:
        if not plan.shared:
            owners.update((p, "L") for p in plan.loadrun)
        for instance in plan.instances:
            owners.update((p, str(instance.index)) for p in instance.processors)
    return owners


def _heading(topology: Topology) -> str:
    cores = {p.core for p in topology.processors}
    efficient = {p.core for p in topology.processors if p.efficient}
    of_kind = f" ({len(efficient)} efficient)" if efficient else ""
    size = f" of {_size(topology.l3_size)}" if topology.l3_size else ""
    return (
        f"{topology.name}: {_plural(topology.sockets, 'socket')},"
        f" {_plural(len(topology.nodes), 'memory node')},"
        f" {_plural(len({p.l3 for p in topology.processors}), 'L3 domain')}{size},"
        f" {_plural(len(cores), 'core')}{of_kind},"
        f" {_plural(len(topology.processors), 'processor')}"
    )


def _limits(topology: Topology) -> list[str]:
    limits = []
    if len(topology.allowed) < len(topology.processors):
        limits.append(f"allowed here: {format_list([p.id for p in topology.allowed])}")
    if topology.quota is not None:
        limits.append(f"CPU quota: {topology.quota:g} processors")
    if topology.offline:
        limits.append(f"offline: {format_list(topology.offline)}")
    return ["  " + "; ".join(limits)] if limits else []


def _size(text: str) -> str:
    """The kernel's "32768K" as "32 MiB"."""
    number = text.removesuffix("K")
    return f"{int(number) / 1024:g} MiB" if number != text and number.isdigit() else text


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
