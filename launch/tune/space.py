"""What can be tuned: instances x cores, batch size, policy, batches in flight."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from launch.machine.plan import make_plan
from launch.machine.topology import Topology
from loadrun.dispatch.policies import NAMES as POLICIES
from loadrun.scenarios import SCENARIOS

IN_FLIGHT = (1, 2, 3, 4)
LEAST_USED = 0.75
"""Layouts that leave more than a quarter of the cores idle are not tried."""
MOST_LAYOUTS = 16


@dataclass(frozen=True)
class Layout:
    """`instances` instances of `each` cores."""

    instances: int
    each: int

    @property
    def cores(self) -> int:
        """Cores of all instances together, what --cores is given."""
        return self.instances * self.each

    def __str__(self) -> str:
        return f"{self.instances} x {self.each}"


@dataclass(frozen=True)
class Choice:
    """One configuration of a run."""

    layout: Layout
    batch_size: int
    policy: str
    in_flight: int

    def __str__(self) -> str:
        return f"{self.layout}, batch {self.batch_size}, {self.policy}, in flight {self.in_flight}"

    def options(self) -> dict[str, Any]:
        """The values of the options of a run that ask for it, by name."""
        return {
            "instances": self.layout.instances,
            "cores": self.layout.cores,
            "batch_size": self.batch_size,
            "policy": self.policy,
            "in_flight": self.in_flight,
        }


@dataclass(frozen=True)
class Space:
    """The values of each dimension; a point is one index into each, in order of the fields.

    Layouts go from narrow instances to wide ones and batch sizes and depths upwards, so that
    neighbouring indices behave alike.
    """

    layouts: tuple[Layout, ...]
    batch_sizes: tuple[int, ...]
    policies: tuple[str, ...] = POLICIES
    depths: tuple[int, ...] = IN_FLIGHT

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """How many values each dimension has."""
        return len(self.layouts), len(self.batch_sizes), len(self.policies), len(self.depths)

    @property
    def size(self) -> int:
        """How many choices there are."""
        layouts, batches, policies, depths = self.sizes
        return layouts * batches * policies * depths

    def choice(self, point: tuple[int, ...]) -> Choice:
        """The choice at a point."""
        layout, batch, policy, depth = point
        return Choice(
            self.layouts[layout],
            self.batch_sizes[batch],
            self.policies[policy],
            self.depths[depth],
        )

    def point(self, choice: Choice) -> tuple[int, ...]:
        """The point of a choice; ValueError when it is none of the space."""
        return (
            self.layouts.index(choice.layout),
            self.batch_sizes.index(choice.batch_size),
            self.policies.index(choice.policy),
            self.depths.index(choice.in_flight),
        )

    def points(self) -> Iterator[tuple[int, ...]]:
        """Every point."""
        layouts, batches, policies, depths = self.sizes
        for layout in range(layouts):
            for batch in range(batches):
                for policy in range(policies):
                    for depth in range(depths):
                        yield layout, batch, policy, depth

    def neighbours(self, point: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Points one step away in one dimension: layouts and batch sizes first, they matter most.

        Policies have no order: each other one is a neighbour.
        """
        layout, batch, policy, depth = point
        found = [(layout + step, batch, policy, depth) for step in (-1, 1)]
        found += [(layout, batch + step, policy, depth) for step in (-1, 1)]
        found += [(layout, batch, policy, depth + step) for step in (-1, 1)]
        found += [(layout, batch, p, depth) for p in range(len(self.policies)) if p != policy]
        return [
            p for p in found if all(0 <= at < size for at, size in zip(p, self.sizes, strict=True))
        ]

    @property
    def key(self) -> str:
        """A short name that changes with any value of the space."""
        return hashlib.sha256(repr(asdict(self)).encode()).hexdigest()[:8]


def make_space(topology: Topology, scenario: str, default: Choice) -> Space:
    """The space of a machine and a scenario; `default` is always part of it."""
    single = SCENARIOS[scenario].one_sample
    layouts = _single(topology) if single else _layouts(topology)
    layouts.add(default.layout)
    space = Space(
        tuple(sorted(layouts, key=lambda x: (x.each, x.instances))),
        tuple(sorted({*SCENARIOS[scenario].tried_batch_sizes, default.batch_size})),
        depths=tuple(sorted({*IN_FLIGHT, default.in_flight})),
    )
    # With one query at a time there is nothing to choose of policy and depth.
    return replace(space, policies=("pull",), depths=(2,)) if single else space


def _single(topology: Topology) -> set[Layout]:
    largest = max(Counter(p.node for p in topology.cores).values())
    return {Layout(1, each) for each in _widths(min(largest, _available(topology)))}


def _layouts(topology: Topology) -> set[Layout]:
    """Layouts that use the machine and straddle no domain, nor node where they are wider.

    Where loadrun would have to share with the instances, also with one instance fewer.
    """
    available = _available(topology)
    cores = topology.performance_cores
    domains = Counter((p.node, p.l3) for p in cores).values()
    nodes = Counter(p.node for p in cores).values()
    found: dict[Layout, float] = {}
    for each in _widths(min(max(nodes), available)):
        within = domains if each <= max(domains) else nodes
        instances = min(sum(size // each for size in within), available // each)
        if instances * each < LEAST_USED * available:
            continue
        layout = Layout(instances, each)
        found[layout] = layout.cores / available
        if instances > 1 and make_plan(topology, instances, layout.cores).shared:
            found[Layout(instances - 1, each)] = (instances - 1) * each / available
    kept = sorted(found, key=lambda layout: -found[layout])[:MOST_LAYOUTS]
    return set(kept)


def _available(topology: Topology) -> int:
    cores = topology.performance_cores
    return len(cores) if topology.quota is None else min(len(cores), max(int(topology.quota), 1))


def _widths(most: int) -> list[int]:
    """Cores of an instance that are tried: all up to 8, then in steps that grow."""
    widths = [*range(1, 9), 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96, 128]
    return sorted({*(w for w in widths if w <= most), most} if most <= 64 else set(widths[:22]))
