"""The coming run in words, before anything is built or started."""

from __future__ import annotations

from pathlib import Path

import models
from launch.build.assets import WITHOUT_ARTIFACT
from launch.machine.instructions import read_instruction_set
from launch.machine.pinning import Pinning
from launch.machine.plan import Plan
from launch.machine.topology import format_list
from launch.options import RunOptions
from launch.screen.terminal import Terminal
from launch.supervise.environment import preloaded
from loadrun.user_conf import parse_user_conf
from models.task import Benchmark, Task

SYNTHETIC = "synthetic"
CALIBRATED_ON_SERVED = "calibrated on the served "
"""Begins why a result is not official whose int8 ranges come from the samples that are served."""


def announce(
    options: RunOptions, task: Task, plan: Plan, pinning: Pinning, terminal: Terminal
) -> None:
    """Say what will run: task, data, engine, plan, and everything that needs notice."""
    sources, benchmark = options.sources, task.benchmark(options.model)
    terminal.line(f"{task.titled(options.model)}  {options.scenario}  {options.mode}")
    if options.engine not in WITHOUT_ARTIFACT:
        terminal.line(f"  weights: {weights_of(options.model, sources.weights)}")
    terminal.line(f"  data: {sources.served or embedded(options.model)}")
    terminal.line(
        f"  engine: {options.engine}, {options.precision}, batch size {options.batch_size},"
        f" policy {options.policy}"
    )
    terminal.lines(f"  user.conf: {text}" for text in user_conf_settings(options, benchmark))
    if options.tuned.notice:
        terminal.line(f"  tuned: {options.tuned.notice}")
    own = "shared with the instances" if plan.shared else "of its own"
    where = f"; loadrun on processors {format_list(plan.loadrun)}, {own}"
    terminal.line(f"  plan: {plan}{'' if options.in_process else where}")
    for notice in plan.notices:
        terminal.box("PLAN", notice)
    if pinning.notice:
        terminal.line(f"  note: {pinning.notice}")
    if options.precision == "int8" and options.engine not in WITHOUT_ARTIFACT:
        announce_instructions(terminal)
    if libraries := preloaded():
        terminal.line(f"  note: preloaded into every process: {', '.join(libraries)}")
    terminal.lines(f"  note: {text}" for text in data_notices(options))


def weights_of(model: str, given: Path | None) -> str:
    """Where a model's weights come from."""
    return str(given or models.get(model).network_file or embedded(model))


def embedded(model: str) -> str:
    """What is served where nothing is given."""
    own = models.is_own(model) and models.get(model).network_file is None
    return "the task's own" if own else SYNTHETIC


def user_conf_settings(options: RunOptions, benchmark: Benchmark) -> list[str]:
    """What user.conf, given or found, sets for this test, in one line; none where it sets nothing.

    Raises UserConfError for a file that LoadGen would misread.
    """
    if options.user_conf is None:
        return []
    conf = parse_user_conf(options.user_conf, models=(benchmark.conf,))
    found = conf.settings(benchmark.conf, options.scenario)
    if not found:
        return []
    settings = ", ".join(f"{key} = {entry.value:.10g}" for key, entry in found.items())
    return [f"{options.user_conf}: {settings}"]


def announce_instructions(terminal: Terminal) -> None:
    """Say so where the processor lacks what makes int8 fast."""
    instructions = read_instruction_set()
    if instructions is not None and instructions.notice:
        terminal.line(f"  note: {instructions.notice}")


def data_notices(options: RunOptions) -> list[str]:
    """Where weights, data and calibration do not belong together, or accuracy is not measured."""
    sources, items, notices = options.sources, models.get(options.model).items, []
    if options.engine in WITHOUT_ARTIFACT:
        return [f"engine {options.engine} computes nothing: its answers and accuracy mean nothing"]
    weights = weights_of(options.model, sources.weights)
    synthetic = [text == SYNTHETIC for text in (weights, sources.served or embedded(options.model))]
    if any(synthetic) and not all(synthetic):
        which = "weights are" if synthetic[0] else f"{items} are"
        notices.append(f"only the {which} synthetic: the rate is real, accuracy means nothing")
    if calibrates_on_served_images(options):
        notices.append(f"no --calibration: int8 ranges are taken from served {items}")
    return notices


def calibrates_on_served_images(options: RunOptions) -> bool:
    """Whether int8 ranges come from the samples that are served, for want of others."""
    return (
        options.engine not in WITHOUT_ARTIFACT
        and options.precision == "int8"
        and bool(options.sources.weights or models.get(options.model).network_file)
        and options.sources.calibration is None
    )


def unofficial_reasons(
    options: RunOptions, samples: int, synthetic: bool, reported: list[str]
) -> list[str]:
    """Why the result is not official: options, data, and what the settings' check `reported`.

    `samples` are in the data set.
    """
    task = models.get(options.model)
    benchmark = task.benchmark(options.model)
    reasons = ["--fast"] if options.fast else []
    if options.scenario not in benchmark.scenarios:
        reasons.append(f"{benchmark.name} has no {options.scenario}")
    if options.count is not None and not (options.accuracy_only and options.count >= samples):
        reasons.append(f"--count {options.count}")
    reasons += reported
    if options.engine in WITHOUT_ARTIFACT:
        reasons.append(f"engine {options.engine}")
    if models.is_own(options.model):
        reasons.append("a network of your own")
    if synthetic:
        reasons.append("synthetic weights or data")
    if calibrates_on_served_images(options):
        reasons.append(f"{CALIBRATED_ON_SERVED}{task.items}")
    if options.audit:
        reasons.append(f"audit {options.audit}")
    return reasons
