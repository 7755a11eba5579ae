"""The parts of a record that say where its run took place: plan, pinning, processors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launch.machine.plan import InstancePlan
from launch.machine.topology import Processor, Topology

_COLUMNS = ("id", "core", "socket", "node", "l3", "thread", "allowed", "efficient")
Row = tuple[int, int, int, int, int, int, int, int]
"""A processor: its id, core, socket, node, L3 domain and thread; allowed (0 or 1); efficient."""


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """Who ran where (`launch.machine.plan.Plan`)."""

    loadrun: tuple[int, ...]
    instances: tuple[InstancePlan, ...]
    requested: tuple[int | None, int | None]
    fitted: bool
    oversubscribed: bool
    shared: bool
    spins: bool | None = None
    notices: tuple[str, ...]

    def __str__(self) -> str:
        processors = sum(len(instance.processors) for instance in self.instances)
        return f"{len(self.instances)} instances on {processors} processors"

    @property
    def cores_per_instance(self) -> int | None:
        """Processors of each instance; None without instances."""
        return len(self.instances[0].processors) if self.instances else None


@dataclass(frozen=True)
class PinningRecord:
    """How processes were bound, and whether their memory was (`launch.machine.pinning.Pinning`)."""

    method: str
    memory: bool


def as_rows(topology: Topology) -> tuple[Row, ...]:
    """The processors as rows of numbers."""
    rows = ([int(getattr(p, column)) for column in _COLUMNS] for p in topology.processors)
    return tuple((a, b, c, d, e, f, g, h) for a, b, c, d, e, f, g, h in rows)


def from_rows(rows: Sequence[Row]) -> list[Processor]:
    """The processors of `as_rows`."""
    return [
        Processor(number, core, socket, node, l3, thread, bool(allowed), bool(efficient))
        for number, core, socket, node, l3, thread, allowed, efficient in rows
    ]
