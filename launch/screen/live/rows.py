"""Which instances share a row of the screen, and what the row shows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launch.machine.plan import InstancePlan
from launch.machine.topology import format_list
from launch.screen.live.meter import InstanceReading


@dataclass(frozen=True)
class Group:
    """Instances (their indices) of one row."""

    label: str
    members: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """What a group does: `busy` is the mean (0..1, None: not known yet), the rest are sums.

    `least` is the instance that is least busy and its share; None where it does not stand out.
    `absent` counts members that do not serve.
    """

    label: str
    busy: float | None
    in_flight: int
    rate: float
    absent: int
    least: tuple[int, float] | None


STANDS_OUT = 0.1
"""How far below the mean of its row an instance is named."""


def group(instances: Sequence[InstancePlan], rows: int) -> list[Group]:
    """Spread instances over at most `rows` rows: one each, else equal parts of memory nodes.

    With more nodes than rows, neighbours share a row whatever their nodes.
    """
    if len(instances) <= rows:
        return [Group(f"instance {i.index}", (i.index,)) for i in instances]
    nodes: dict[int | None, list[int]] = {}
    for instance in instances:
        nodes.setdefault(instance.memory_node, []).append(instance.index)
    if len(nodes) == 1 or len(nodes) > rows:
        every = [i.index for i in instances]
        return [Group(_name(part), tuple(part)) for part in _parts(every, rows)]
    each = rows // len(nodes)
    return [
        Group(f"{_node(node)}, {_name(part)}", tuple(part))
        for node, members in nodes.items()
        for part in _parts(members, each)
    ]


def _parts(members: list[int], count: int) -> list[list[int]]:
    """Cut into at most `count` runs, equal but for the last."""
    size = -(-len(members) // count)
    return [members[start : start + size] for start in range(0, len(members), size)]


def _node(node: int | None) -> str:
    return "no node" if node is None else f"node {node}"


def _name(members: list[int]) -> str:
    return f"instance{'s' * (len(members) > 1)} {format_list(members)}"


def row(group: Group, readings: Sequence[InstanceReading]) -> Row:
    """Sum up the readings (all instances', by index) of a group."""
    members = [readings[index] for index in group.members]
    known = [(m.busy, m.index) for m in members if m.busy is not None]
    busy = sum(share for share, _ in known) / len(known) if known else None
    least = None
    if busy is not None and len(members) > 1:
        share, index = min(known)
        if share < busy - STANDS_OUT:
            least = (index, share)
    return Row(
        group.label,
        busy,
        sum(m.in_flight for m in members),
        sum(m.rate for m in members),
        sum(not m.serving for m in members),
        least,
    )
