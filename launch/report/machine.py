"""The plan drawn on the machine: sockets, memory nodes, L3 domains, and who has which processor.

Boxes that wrap, so that a machine of many processors suits a narrow screen too.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from launch.charts.markup import Markup, tag
from launch.machine.topology import Processor
from launch.outcome.record.machine import from_rows
from launch.outcome.record.run import Record
from launch.report.figures import instance_colour


def machine(record: Record) -> Markup:
    """The machine with its plan; without a recorded topology, the plan alone."""
    plan = record.plan
    owners: dict[int, list[str]] = {}
    for instance in plan.instances:
        for processor in instance.processors:
            owners.setdefault(processor, []).append(str(instance.index))
    loadrun: set[int] = set() if plan.shared else set(plan.loadrun)
    rows = record.topology
    if rows:
        processors = from_rows(rows)
    else:
        known = sorted({*owners, *plan.loadrun})
        processors = [Processor(p, p, 0, 0, 0, 0, True) for p in known]
    ordered = sorted(processors, key=lambda p: (p.socket, p.node, p.l3, p.thread > 0, p.id))
    sockets = [
        tag(
            "div", tag("h4", f"socket {socket}"), *_nodes(members, owners, loadrun), class_="socket"
        )
        for socket, members in groupby(ordered, key=lambda p: p.socket)
    ]
    unknown = "Where caches and nodes lie was not recorded. " if not rows else ""
    own = "shares its processors with the instances" if plan.shared else "has those marked L"
    return tag(
        "div",
        tag("div", *sockets, class_="machine"),
        tag(
            "p",
            unknown,
            "Large: the instance; small: the processor. loadrun ",
            own,
            ". Empty: idle; hatched: not allowed here.",
            class_="quiet",
        ),
    )


def _nodes(
    members: Iterable[Processor], owners: dict[int, list[str]], loadrun: set[int]
) -> Iterable[Markup]:
    for node, in_node in groupby(members, key=lambda p: p.node):
        domains = [
            tag(
                "div",
                tag("h5", f"L3 of {l3}"),
                *_threads(list(domain), owners, loadrun),
                class_="l3",
            )
            for l3, domain in groupby(in_node, key=lambda p: p.l3)
        ]
        yield tag("div", tag("h5", f"memory node {node}"), *domains, class_="node")


def _threads(
    domain: list[Processor], owners: dict[int, list[str]], loadrun: set[int]
) -> Iterable[Markup]:
    first = [p for p in domain if p.thread == 0]
    others = [p for p in domain if p.thread != 0]
    for kind, members in (("", first), ("sibling", others)):
        if members:
            cells = [_cell(p, owners.get(p.id, []), p.id in loadrun) for p in members]
            yield tag("div", *cells, class_=f"cells {kind}".strip())


def _cell(processor: Processor, instances: list[str], loadrun: bool) -> Markup:
    where = f"processor {processor.id}"
    if processor.thread:
        where += f" (SMT sibling on core {processor.core})"
    if processor.efficient:
        where += " (efficiency core)"
    if instances:
        more = f"+{len(instances) - 1}" if len(instances) > 1 else ""
        who, colour = instances[0] + more, instance_colour(int(instances[0]))
        title = f"{where}: instance {', '.join(instances)}"
    elif loadrun:
        who, colour, title = "L", "own", f"{where}: loadrun"
    elif not processor.allowed:
        who, colour, title = "", "barred", f"{where}: not allowed here"
    else:
        who, colour, title = "", "idle", f"{where}: idle"
    return tag("span", tag("b", who), tag("small", processor.id), title=title, class_=colour)
