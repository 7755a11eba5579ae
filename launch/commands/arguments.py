"""Arguments that several commands take, and how their values are read."""

from __future__ import annotations

import argparse
import sys
from difflib import get_close_matches
from typing import TypeVar

import models
from base.errors import InputError
from loadrun.scenarios import OFFLINE, UnknownNameError, parse_scenario

Number = TypeVar("Number", int, float)
EXIT_CODES = """\
exit codes: 0 done; 2 bad usage, configuration or input; 4 it failed; 130 interrupted.
"""
"""Those of a command that has no verdict."""


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the model's name."""
    parser.add_argument("model", metavar="MODEL", help=" or ".join(models.names()))


def add_scenario(group: argparse._ActionsContainer) -> None:
    """Add the scenario."""
    group.add_argument(
        "--scenario",
        default=OFFLINE.name,
        metavar="NAME",
        help="SingleStream, MultiStream, Server or Offline (default)",
    )


def add_data(group: argparse._ArgumentGroup) -> None:
    """Add where weights and images come from."""
    group.add_argument("--weights", metavar="FILE", help="fp32 weights [LOADRUN_WEIGHTS]")
    group.add_argument("--images", metavar="DIR", help="images to serve [LOADRUN_IMAGES]")
    group.add_argument(
        "--labels", metavar="FILE", help="'name label' lines for the images [LOADRUN_LABELS]"
    )
    group.add_argument(
        "--calibration",
        metavar="PATH",
        help="images that int8 ranges are taken from: a folder, or a file that names some of"
        " --images, one a line [LOADRUN_CALIBRATION]",
    )


def add_results(group: argparse._ActionsContainer) -> None:
    """Add the directory of results."""
    group.add_argument(
        "--results", default="results", metavar="DIR", help="where results go (default: results)"
    )


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


def engine_of(arguments: argparse.Namespace) -> tuple[str, str]:
    """--engine, or the default one for --precision, and that precision.

    InputError for an unknown name, and for an engine that does not execute the precision.
    """
    from netrun.engines import ENGINES, PRECISIONS
    from netrun.engines.registry import executing, facts

    precision = one_of("--precision", arguments.precision, PRECISIONS)
    default = executing(precision)[0]
    engine = one_of("--engine", arguments.engine or default, tuple(ENGINES))
    if precision not in facts(engine).precisions:
        raise InputError(
            f"--engine {engine} executes {', '.join(facts(engine).precisions)}, not {precision}"
            f" (--engine {default} does)"
        )
    return engine, precision


def one_of(option: str, value: str, names: tuple[str, ...]) -> str:
    """The name among `names` that the user means; InputError with the nearest one."""
    if value.lower() in names:
        return value.lower()
    near = get_close_matches(value.lower(), names, 1, 0.0)
    raise InputError(f"{option} {value}: unknown (nearest: {near[0]}; known: {', '.join(names)})")


def count(text: str) -> int:
    """A whole number of at least 1."""
    return _number(text, int, 1, "a whole number of at least 1")


def whole(text: str) -> int:
    """A whole number of at least 0."""
    return _number(text, int, 0, "a whole number of at least 0")


def positive(text: str) -> float:
    """A number above 0."""
    return _number(text, float, sys.float_info.min, "a number above 0")


def _number(text: str, kind: type[Number], least: float, expected: str) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = kind(-1)
    if not least <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not {expected}")
    return value
