"""Arguments that several commands take, and how their values are read."""

from __future__ import annotations

import argparse
from dataclasses import replace
from difflib import get_close_matches

import models
from base.errors import InputError
from base.options import count
from launch.options import RunOptions, Sources
from launch.options.declare import add, offer
from loadrun.scenarios import OFFLINE, SCENARIOS, UnknownNameError, parse_scenario
from models.config_ver import CONFIG_VERS, DEFAULT

EXIT_CODES = """\
exit codes: 0 done; 2 bad usage, configuration or input; 4 it failed; 130 interrupted.
"""
"""Those of a command that has no verdict."""


def add_like_run(parser: argparse.ArgumentParser, group: str, *names: str, **others: str) -> None:
    """Add options of `loadrun run` to a group, in order; `others` with another help."""
    known = RunOptions.options()
    for name in (*names, *others):
        option = replace(known[name], help=others.get(name, known[name].help), group=group)
        add(parser, {name: option})


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the name of the task or benchmark, and --config-ver, which chooses among a task's."""
    add_like_run(parser, "", "model", "config_ver")


def model_of(arguments: argparse.Namespace) -> str:
    """The name by which all processes get what is meant; InputError as models.get."""
    task, like = (getattr(arguments, name, None) for name in ("task", "like"))
    return models.canonical(arguments.model, task, like, config_ver_of(arguments.config_ver))


def config_ver_of(given: str | None) -> str | None:
    """The name that --config-ver gives, None without it; InputError with the nearest one."""
    return None if given is None else one_of("--config-ver", given.replace("-", "_"), CONFIG_VERS)


def add_data(parser: argparse.ArgumentParser, *left_out: str, **helps: str) -> None:
    """Add where weights and data come from, but for what is `left_out`; `helps` replace others."""
    for name, option in Sources.options().items():
        if name not in left_out:
            add(parser, {name: replace(option, help=helps.get(name, option.help))})


def scenario_of(arguments: argparse.Namespace) -> str:
    """LoadGen's name of --scenario; InputError with the nearest one."""
    try:
        return parse_scenario(arguments.scenario)
    except UnknownNameError as error:
        raise InputError(str(error)) from None


def round_of(arguments: argparse.Namespace) -> str | None:
    """The MLPerf round of --round, None without it; InputError that lists the known ones."""
    from loadrun.rounds import UnknownRoundError, parse_round

    try:
        return parse_round(arguments.round) if arguments.round is not None else None
    except UnknownRoundError as error:
        raise InputError(f"--round: {error}") from None


def engine_of(arguments: argparse.Namespace, model: str) -> tuple[str, str]:
    """--engine, or the default one for --precision, and that precision, by default the benchmark's.

    InputError for an unknown name, and for an engine that does not execute the precision.
    """
    from netrun.engines import ENGINES, PRECISIONS
    from netrun.engines.registry import executing, facts

    given = arguments.precision or models.benchmark(model).precision
    precision = one_of("--precision", given, PRECISIONS)
    default = executing(precision)[0]
    engine = one_of("--engine", arguments.engine or default, tuple(ENGINES))
    if precision not in facts(engine).precisions:
        raise InputError(
            f"--engine {engine} executes {', '.join(facts(engine).precisions)}, not {precision}"
            f" (--engine {default} does)"
        )
    return engine, precision


def names_of(arguments: argparse.Namespace, name: str, flag: str = "") -> list[str]:
    """The names that an option lists by commas, none where it is not given.

    `flag` is how the user writes it, where that is not `name`. Raises InputError for an empty list.
    """
    given = getattr(arguments, name)
    if given is None:
        return []
    names = [each.strip() for each in given.split(",") if each.strip()]
    if not names:
        flag = flag or f"--{name.replace('_', '-')}"
        raise InputError(f"{flag} {given!r}: names nothing")
    return names


def add_config_vers(parser: argparse._ActionsContainer, help: str) -> None:
    """Add --config-ver as a list."""
    versions = parser.add_argument(
        "--config-ver", dest="config_vers", metavar="NAMES", default=DEFAULT, help=help
    )
    offer(versions, lambda: CONFIG_VERS)


def config_vers_of(arguments: argparse.Namespace) -> list[str]:
    """The names of `add_config_vers`, of which "all" is every one; InputError with the nearest."""
    found: dict[str, None] = {}
    for name in names_of(arguments, "config_vers", "--config-ver"):
        found |= dict.fromkeys(CONFIG_VERS if name == "all" else [config_ver_of(name) or DEFAULT])
    return list(found)


def add_scenarios(parser: argparse._ActionsContainer, help: str) -> None:
    """Add --scenarios, a list."""
    scenarios = parser.add_argument("--scenarios", metavar="NAMES", help=help)
    offer(scenarios, lambda: SCENARIOS)


def scenarios_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    """LoadGen's names of `add_scenarios`, each once; InputError with the nearest one."""
    try:
        return tuple(dict.fromkeys(map(parse_scenario, names_of(arguments, "scenarios"))))
    except UnknownNameError as error:
        raise InputError(str(error)) from None


def add_batches(parser: argparse._ActionsContainer, verb: str = "") -> None:
    """Add what instances something is built for; `verb` begins the help."""
    parser.add_argument(
        "--batch-size",
        type=count,
        default=OFFLINE.batch_size,
        metavar="N",
        help=f"{verb}for batches of up to N samples (default {OFFLINE.batch_size})",
    )
    parser.add_argument(
        "--threads",
        type=count,
        metavar="N",
        help=f"{verb}for instances of N cores (default: those of a run's default plan)",
    )


def one_of(option: str, value: str, names: tuple[str, ...]) -> str:
    """The name among `names` that the user means; InputError with the nearest one."""
    if value.lower() in names:
        return value.lower()
    near = get_close_matches(value.lower(), names, 1, 0.0)
    raise InputError(f"{option} {value}: unknown (nearest: {near[0]}; known: {', '.join(names)})")
