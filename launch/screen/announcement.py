"""What is going to run, said before anything is built or started."""

from __future__ import annotations

from launch.build.assets import WITHOUT_ARTIFACT
from launch.machine.instructions import read_instruction_set
from launch.machine.pinning import Pinning
from launch.machine.plan import Plan
from launch.machine.topology import format_list
from launch.options import RunOptions
from launch.screen.terminal import Terminal
from launch.supervise.environment import preloaded
from loadrun.user_conf import parse_user_conf
from models.model import Model

SERVED_IMAGES = "calibrated on the served images"
"""Why a result is not official whose int8 ranges come from the images that are served."""


def announce(
    options: RunOptions, model: Model, plan: Plan, pinning: Pinning, terminal: Terminal
) -> None:
    """Say what will run: model, data, engine, plan, and everything that needs notice."""
    sources = options.sources
    terminal.line(f"{model.title}  {options.scenario}  {options.mode}")
    if options.engine not in WITHOUT_ARTIFACT:
        terminal.line(f"  weights: {sources.weights or 'synthetic'}")
    terminal.line(f"  data: {sources.images or 'synthetic'}")
    terminal.line(
        f"  engine: {options.engine}, {options.precision}, batch size {options.batch_size},"
        f" policy {options.policy}"
    )
    terminal.lines(f"  user.conf: {text}" for text in user_conf_settings(options, model))
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


def user_conf_settings(options: RunOptions, model: Model) -> list[str]:
    """What user.conf, given or found, sets for this test, in one line; none where it sets nothing.

    Raises UserConfError for a file that LoadGen would misread.
    """
    if options.user_conf is None:
        return []
    name = model.benchmark(options.model).conf
    conf = parse_user_conf(options.user_conf, models=(name,))
    found = conf.settings(name, options.scenario)
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
    """Where weights, images and calibration do not belong together, or accuracy is not measured."""
    sources, notices = options.sources, []
    if options.engine in WITHOUT_ARTIFACT:
        return [f"engine {options.engine} computes nothing: its answers and accuracy mean nothing"]
    if (sources.weights is None) != (sources.images is None):
        which = "weights are" if sources.weights is None else "images are"
        notices.append(f"only the {which} synthetic: the rate is real, accuracy means nothing")
    if calibrates_on_served_images(options):
        notices.append("no --calibration: int8 ranges are taken from served images")
    return notices


def calibrates_on_served_images(options: RunOptions) -> bool:
    """Whether int8 ranges come from the images that are served, for want of others."""
    return (
        options.engine not in WITHOUT_ARTIFACT
        and options.precision == "int8"
        and options.sources.weights is not None
        and options.sources.calibration is None
    )


def unofficial_reasons(
    options: RunOptions, images: int, synthetic: bool, reported: list[str]
) -> list[str]:
    """Why the result is not official: options, data, and what the settings' check `reported`.

    `images` are in the data set.
    """
    reasons = ["--fast"] if options.fast else []
    if options.count is not None and not (options.accuracy_only and options.count >= images):
        reasons.append(f"--count {options.count}")
    reasons += reported
    if options.engine in WITHOUT_ARTIFACT:
        reasons.append(f"engine {options.engine}")
    if synthetic:
        reasons.append("synthetic weights or data")
    if calibrates_on_served_images(options):
        reasons.append(SERVED_IMAGES)
    if options.audit:
        reasons.append(f"audit {options.audit}")
    return reasons
