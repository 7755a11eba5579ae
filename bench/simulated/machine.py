"""How long a batch takes on a machine that is not there: cores, caches, memory.

A batch of b samples on an instance of c cores takes the larger, softly, of two times:

- computing: b * `work_ms` / c, and for every one of `layers` layers a meeting of c threads, dearer
  from one L3 domain to another;
- memory: the weights once a batch, and of every sample's activations what does not fit the share of
  the L3 cache that the instance has beside its neighbours, over its share of the node's bandwidth.

All instances are busy at once, which is when a tuner's choice matters.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from launch.machine.plan import make_plan
from launch.machine.topology import Topology
from launch.tune.space import Layout
from netrun.config import SimulatedService

SOFT = 2.0
"""Exponent of the soft maximum: computing and memory access overlap, but not fully."""
BASE_MS = 0.15
"""Around every batch."""


@dataclass(frozen=True)
class Network:
    """A network's demands: ms of one core per sample; MB of weights and of activations a sample."""

    work_ms: float = 18.0
    layers: int = 54
    weights_mb: float = 25.0
    activations_mb: float = 2.6


@dataclass(frozen=True)
class Machine:
    """A topology with speeds: L3 in MB, GB/s of a node, us for threads to meet."""

    topology: Topology
    l3_mb: float
    node_gb_s: float
    meet_us: float = 3.0
    network: Network = Network()
    shared_ms: float = 0.4
    """What a batch waits where loadrun shares the instances' cores."""

    def service(self, layout: Layout, largest: int, jitter: float = 0.03) -> SimulatedService:
        """The service times of batches of 1 to `largest` samples under `layout`."""
        plan = make_plan(self.topology, layout.instances, layout.cores)
        where = {p.id: p for p in self.topology.processors}
        domains = [{where[p].l3 for p in i.processors} for i in plan.instances]
        nodes = [{where[p].node for p in i.processors} for i in plan.instances]
        on_l3 = Counter(domain for own in domains for domain in own)
        on_node = Counter(node for own in nodes for node in own)
        # The most crowded instance decides when all of them are to end together.
        cache_mb = min(sum(self.l3_mb / on_l3[d] for d in own) for own in domains)
        gb_s = min(sum(self.node_gb_s / on_node[n] for n in own) for own in nodes)
        width = max(len(own) for own in domains)
        own_ms = self.shared_ms if plan.shared else 0.0
        times = tuple(
            own_ms + self._batch_ms(batch, layout.each, cache_mb, gb_s, width)
            for batch in range(1, largest + 1)
        )
        return SimulatedService(jitter=jitter, batch_ms=times)

    def _batch_ms(self, batch: int, cores: int, cache_mb: float, gb_s: float, width: int) -> float:
        net = self.network
        meeting = self.meet_us * (cores - 1) ** 0.5 * (1 + 2 * (width - 1)) / 1e3
        # Work is dealt in whole tiles: the last round leaves some threads without any.
        tiles = 64 * batch
        uneven = -(-tiles // cores) * cores / tiles
        compute = batch * net.work_ms / cores * uneven + net.layers * meeting
        needed_mb = batch * net.activations_mb + net.weights_mb / 4
        spilled = max(0.0, 1 - cache_mb / needed_mb)
        traffic_mb = net.weights_mb + batch * net.activations_mb * 8 * spilled
        memory = traffic_mb / gb_s
        return BASE_MS + float((compute**SOFT + memory**SOFT) ** (1 / SOFT))
