"""What a roofline is of: a model on part of a machine, as it is announced."""

from __future__ import annotations

import os
from dataclasses import dataclass

import models
from base.errors import InputError
from launch.build.assets import Assets
from launch.machine.instructions import features
from launch.machine.pinning import Pinning, find_pinning
from launch.machine.plan import InstancePlan, make_plan
from launch.machine.topology import Topology, format_list, read_topology
from launch.roofline.options import RooflineOptions
from launch.screen.terminal import Terminal
from launch.supervise.environment import MAX_CPU_ISA

SYNTHETIC = "synthetic weights: another network's numbers, the same work and times"


@dataclass(frozen=True)
class Subject:
    """The processors of one instance, how it is bound, and `machine`, which names them."""

    topology: Topology
    instance: InstancePlan
    pinning: Pinning
    machine: str


def announced(options: RooflineOptions, heading: str, terminal: Terminal) -> Subject:
    """Find the processors and print the subject; InputError where there are not so many."""
    topology = read_topology()
    instance = _instance(topology, options.cores)
    subject = Subject(topology, instance, find_pinning(topology), _machine(topology, instance))
    terminal.line(heading)
    terminal.line(f"  machine: {subject.machine}")
    terminal.line(f"  weights: {options.sources.weights or 'synthetic'}")
    if subject.pinning.notice:
        terminal.line(f"  note: {subject.pinning.notice}")
    return subject


def title(options: RooflineOptions) -> str:
    """The model as a heading names it."""
    return f"{models.title(options.model)}, {options.precision}"


def synthetic(assets: Assets) -> bool:
    """Whether the weights are synthetic."""
    return assets.weights is None or assets.weights.synthetic


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
