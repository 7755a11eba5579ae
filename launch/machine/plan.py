"""Which processors and memory node loadrun and every instance get.

An instance gets whole physical cores; SMT siblings stay idle, because two threads of an int8
convolution share one core's vector units and only take each other's cache. Instances lie within
one L3 domain, else within one NUMA node, wherever their size allows it, and are spread evenly
over domains and nodes, whose caches and memory channels they then share evenly. Efficiency cores
of a hybrid machine are left to loadrun unless more cores are asked for than there are others: the
threads of an instance meet after every layer, and the slowest decides.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from itertools import cycle, islice

from base.errors import InputError
from launch.machine.topology import Processor, Topology, format_list

_Domain = tuple[int, int, bool]
LOADRUN_PROCESSORS = 2
"""What loadrun can use: LoadGen's issuing thread and the completion thread."""


class PlanError(InputError):
    """The plan that was asked for does not fit the machine and must not be fitted."""


@dataclass(frozen=True)
class InstancePlan:
    """The processors of one instance; `memory_node` None leaves memory to the kernel."""

    index: int
    processors: tuple[int, ...]
    memory_node: int | None


@dataclass(frozen=True)
class Plan:
    """Who runs where. `notices` must reach the user; `fitted` says the request was cut down.

    `requested` is (instances, processors in total) as the user gave them, None where left open.
    `shared` says that loadrun has no processor of its own; `spins` that it has whole cores, and no
    quota counts their time: looking for answers without a pause takes nothing from the instances.
    """

    loadrun: tuple[int, ...]
    instances: tuple[InstancePlan, ...]
    requested: tuple[int | None, int | None]
    fitted: bool
    oversubscribed: bool
    shared: bool
    spins: bool
    notices: tuple[str, ...]

    @property
    def cores_per_instance(self) -> int:
        """Processors of each instance; all instances are equal."""
        return len(self.instances[0].processors)

    def __str__(self) -> str:
        count, cores = len(self.instances), self.cores_per_instance
        return (
            f"{count} instance{'s' * (count > 1)} x {cores} core{'s' * (cores > 1)}"
            f" ({count * cores} processor{'s' * (count * cores > 1)})"
        )

    def as_json(self) -> dict[str, object]:
        """The plan as run.json holds it."""
        return asdict(self)


def make_plan(
    topology: Topology,
    instances: int | None = None,
    cores: int | None = None,
    *,
    strict: bool = False,
    oversubscribe: bool = False,
) -> Plan:
    """Plan `instances` instances on `cores` processors in total, as in "14 instances on 56".

    Without `instances`, cores per instance are 1 on a machine of fewer than 8 physical cores,
    2 below 16 and 4 from there, or less where that leaves cores over; without `cores`, the
    instances divide the machine. A plan larger than the machine keeps the instances that fit, then
    the cores, and says so; `strict` makes it PlanError, `oversubscribe` shares the processors.
    PlanError too for counts below 1 and fewer cores than instances.
    """
    for option, value in (("--instances", instances), ("--cores", cores)):
        if value is not None and value < 1:
            raise PlanError(f"{option} {value}: at least 1 is needed")
    if instances and cores and cores < instances and not oversubscribe:
        raise PlanError(
            f"--cores {cores} is less than one core for each of --instances {instances}:"
            f" give --cores {instances} or more, or --oversubscribe"
        )
    pool, notices = _usable(topology)
    every, pool = pool, _fast_enough(pool, instances, cores)
    available = len(pool)
    count, each = _wanted(topology, pool, instances, cores)
    if (
        len(pool) == len(every)
        and any(p.efficient for p in pool)
        and any(not p.efficient for p in pool)
    ):
        notices.append(
            "more cores asked for than there are performance cores: efficiency cores"
            " take part, and slow an instance that has both kinds"
        )
    if cores and instances and cores % instances and cores > instances:
        notices.append(
            f"{cores} processors do not divide by {instances} instances:"
            f" {each} each, {cores - count * each} left over"
        )
    if count * each > available:
        if strict:
            raise PlanError(
                f"{_asked(instances, cores)} needs {count * each} cores, this machine has"
                f" {_have(topology, available)}; leave out --strict to fit the plan"
            )
        if oversubscribe:
            return _oversubscribed(topology, pool, count, each, (instances, cores), notices)
        count = min(count, available)
        each = min(each, available // count)
        notices.append(
            f"Asked for: {_asked(instances, cores)}. This machine has"
            f" {_have(topology, available)}.\nFitted: {count} instance{'s' * (count > 1)} x {each}"
            f" core{'s' * (each > 1)}. (--strict makes this an error, --oversubscribe runs it as"
            " asked)"
        )
        fitted = True
    else:
        fitted = False
    placed = _place(pool, count, each)
    if across := sum(len({p.node for p in chosen}) > 1 for chosen in placed):
        notices.append(f"{across} of {count} instances span NUMA nodes")
    if across := sum(len({p.l3 for p in chosen}) > 1 for chosen in placed):
        largest = max(len(domain) for domain in _domains(pool).values())
        if each <= largest:
            whole = sum(len(domain) // each for domain in _domains(pool).values())
            notices.append(
                f"{across} of {count} instances span L3 domains:"
                f" {whole} of {each} cores fit into domains as a whole"
            )
    loadrun, shared, whole = _loadrun_processors(topology, placed)
    return Plan(
        loadrun=loadrun,
        instances=tuple(_instance(topology, i, chosen) for i, chosen in enumerate(placed)),
        requested=(instances, cores),
        fitted=fitted,
        oversubscribed=False,
        shared=shared,
        spins=whole and topology.quota is None,
        notices=tuple(notices),
    )


def unused(topology: Topology, plan: Plan) -> tuple[list[int], list[int]]:
    """Physical cores and SMT siblings (processor ids) that neither loadrun nor an instance has."""
    busy = {p for i in plan.instances for p in i.processors}
    if not plan.shared:
        busy.update(plan.loadrun)
    return (
        [p.id for p in topology.cores if p.id not in busy],
        [p.id for p in topology.siblings if p.id not in busy],
    )


def _usable(topology: Topology) -> tuple[list[Processor], list[str]]:
    """One processor of each core, as many as the cgroup's quota pays for."""
    pool = list(topology.cores)
    if not pool:
        raise PlanError("no processor is available: check the cpuset (taskset -p $$)")
    if topology.quota is not None and topology.quota < len(pool):
        keep = max(int(topology.quota), 1)
        # The cores of one domain, not one of each: they share the cache that samples arrive in.
        pool = sorted(pool, key=lambda p: (p.efficient, p.node, p.l3, p.id))[:keep]
        return pool, [
            f"the cgroup's CPU quota is {topology.quota:g} processors: {keep} used of"
            f" {len(topology.cores)} (more would only be throttled)"
        ]
    return pool, []


def _wanted(
    topology: Topology, pool: list[Processor], instances: int | None, cores: int | None
) -> tuple[int, int]:
    """Instances and cores of each, before they are fitted."""
    if instances and cores:
        return instances, max(cores // instances, 1)
    if instances:
        return instances, max(len(pool) // instances, 1)
    total = cores or len(pool)
    target = 1 if total < 8 else 2 if total < 16 else 4
    domains = [len(d) for d in _domains(pool).values()] if total >= len(pool) else [total]
    for each in range(target, 0, -1):
        over = sum(size % each for size in domains)
        if over * 16 <= total:
            return max((total - (over if cores is None else total % each)) // each, 1), each
    return total, 1


def _fast_enough(
    pool: list[Processor], instances: int | None, cores: int | None
) -> list[Processor]:
    """Performance cores, where they are as many as was asked for; else all cores."""
    fast = [p for p in pool if not p.efficient]
    asked = max(instances or 0, cores or 0)
    return fast if fast and asked <= len(fast) else pool


def _domains(pool: list[Processor]) -> dict[_Domain, list[Processor]]:
    """Cores by node, L3 domain and kind: what an instance should not straddle."""
    domains: dict[_Domain, list[Processor]] = {}
    for processor in sorted(pool, key=lambda p: p.id):
        key = (processor.node, processor.l3, processor.efficient)
        domains.setdefault(key, []).append(processor)
    return domains


def _place(pool: list[Processor], count: int, each: int) -> list[list[Processor]]:
    """Choose `each` processors for `count` instances, within a domain where one has room."""
    free = _domains(pool)
    placed = []
    for _ in range(count):
        placed.append(_take(free, each))
    return sorted(placed, key=lambda chosen: chosen[0].id)


def _take(free: dict[_Domain, list[Processor]], each: int) -> list[Processor]:
    node_free: dict[int, int] = {}
    for (node, _, _), domain in free.items():
        node_free[node] = node_free.get(node, 0) + len(domain)

    # Performance cores first, then the freest node and its freest domain: that spreads instances
    # evenly.
    def freest(key: _Domain) -> tuple[bool, int, int, int]:
        return (key[2], -node_free[key[0]], -len(free[key]), free[key][0].id)

    candidates = [key for key, domain in free.items() if domain]
    whole = [key for key in candidates if len(free[key]) >= each]
    if whole:
        chosen = min(whole, key=freest)
        taken, free[chosen] = free[chosen][:each], free[chosen][each:]
        return taken
    roomy = [key for key in candidates if node_free[key[0]] >= each]
    home = min(roomy, key=freest)[0] if roomy else None
    order = sorted(candidates, key=lambda key: (key[0] != home, freest(key)))
    taken = []
    for key in order:
        part = free[key][: each - len(taken)]
        free[key] = free[key][len(part) :]
        taken.extend(part)
        if len(taken) == each:
            break
    return sorted(taken, key=lambda p: p.id)


def _instance(topology: Topology, index: int, chosen: list[Processor]) -> InstancePlan:
    nodes = {p.node for p in chosen}
    node = nodes.pop() if len(nodes) == 1 else None
    return InstancePlan(
        index=index,
        processors=tuple(p.id for p in chosen),
        memory_node=node if node in topology.memory_nodes else None,
    )


def _loadrun_processors(
    topology: Topology, placed: list[list[Processor]]
) -> tuple[tuple[int, ...], bool, bool]:
    """Cores that no instance has, else idle SMT siblings, else all processors.

    With them, whether they are shared, and whether they are whole cores.

    Free cores are taken from the L3 domain with the fewest instances' cores, and from one node, so
    that LoadGen's and the completion thread share a cache. A lone free core gives its sibling too.
    """
    busy = {p.id for chosen in placed for p in chosen}
    neighbours = Counter(p.l3 for chosen in placed for p in chosen)
    free = sorted(
        (p for p in topology.cores if p.id not in busy),
        key=lambda p: (neighbours[p.l3], -p.id),
    )
    if free:
        own = [p for p in free if p.node == free[0].node]
        cores = {p.core for p in own}
        own += [p for p in topology.siblings if p.core in cores]
        return tuple(sorted(p.id for p in own[:LOADRUN_PROCESSORS])), False, True
    idle = [p for p in topology.siblings if p.id not in busy]
    if idle:
        own = [p for p in idle if p.node == idle[-1].node]
        return tuple(p.id for p in own[-LOADRUN_PROCESSORS:]), False, False
    return tuple(p.id for p in topology.allowed), True, False


def _oversubscribed(
    topology: Topology,
    pool: list[Processor],
    count: int,
    each: int,
    requested: tuple[int | None, int | None],
    notices: list[str],
) -> Plan:
    """Every instance as asked, over cores first, then SMT siblings, then round again."""
    in_pool = {p.core for p in pool}
    siblings = [p for p in topology.siblings if p.core in in_pool]
    turn = cycle([*pool, *siblings])
    each = min(each, len(pool) + len(siblings))
    placed = [list(islice(turn, each)) for _ in range(count)]
    notices.append(
        f"oversubscribed: {count} instances x {each} cores share"
        f" {_have(topology, len(pool))}; rates will be lower and latencies longer"
    )
    return Plan(
        loadrun=tuple(p.id for p in topology.allowed),
        instances=tuple(_instance(topology, i, chosen) for i, chosen in enumerate(placed)),
        requested=requested,
        fitted=False,
        oversubscribed=True,
        shared=True,
        spins=False,
        notices=tuple(notices),
    )


def _asked(instances: int | None, cores: int | None) -> str:
    parts = []
    if instances:
        parts.append(f"{instances} instance{'s' * (instances > 1)}")
    if cores:
        parts.append(f"{cores} processor{'s' * (cores > 1)}")
    return " on ".join(parts)


def _have(topology: Topology, available: int) -> str:
    text = f"{available} core{'s' * (available > 1)}"
    if topology.siblings:
        text += f" ({len(topology.allowed)} processors with SMT siblings, which stay idle)"
    return text


def describe(topology: Topology, plan: Plan) -> list[str]:
    """The plan as lines for a person."""
    lines = [str(plan)]
    for instance in plan.instances:
        memory = "" if instance.memory_node is None else f", memory node {instance.memory_node}"
        lines.append(
            f"  instance {instance.index}: processors {format_list(instance.processors)}{memory}"
        )
    own = "shared with the instances" if plan.shared else "of its own"
    lines.append(f"  loadrun: processors {format_list(plan.loadrun)} ({own})")
    cores, siblings = unused(topology, plan)
    if cores:
        lines.append(f"  unused cores: {format_list(cores)}")
    if siblings:
        lines.append(f"  SMT siblings left idle: {format_list(siblings)}")
    return lines
