"""`loadrun tune MODEL`: search the configuration that serves best on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

import models
from base.errors import InputError
from launch.commands.arguments import (
    EXIT_CODES,
    add_data,
    add_model,
    add_results,
    add_scenario,
    count,
    engine_of,
    positive,
    scenario_of,
    whole,
)
from launch.options import find_sources, find_user_conf
from launch.tune.options import TuneOptions
from loadrun.scenarios import SCENARIOS

SUMMARY = "search instances, cores, batch size, policy and depth that serve a model best"
DESCRIPTION = """\
Searches instances x cores x batch size x policy x batches in flight with Optuna. Short tests prune,
longer ones count; the best are then measured in turn with the default, and a winner that is not
within the noise is written for `loadrun run` to use. Running again goes on where the last session
ended.
"""
EPILOG = f"""\
examples:
  loadrun tune resnet50 --scenario offline --budget 10
  loadrun tune mobilenet --scenario server --budget 20
  loadrun tune resnet50 --scenario server --max-latency 100

results: RESULTS/tune/SCENARIO/MODEL holds study.db (Optuna's), trials.csv, tune.json, pictures.

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun tune` accepts."""
    add_model(parser)
    search = parser.add_argument_group("search")
    add_scenario(search)
    search.add_argument(
        "--budget", type=positive, default=15.0, metavar="MINUTES", help="of this session (15)"
    )
    search.add_argument(
        "--trials",
        type=whole,
        metavar="N",
        help="new choices of this session at most; 0 only repeats the finalists",
    )
    search.add_argument(
        "--short", type=positive, default=4.0, metavar="S", help="seconds of a test that prunes (4)"
    )
    search.add_argument(
        "--long", type=positive, default=10.0, metavar="S", help="of a test that counts (10)"
    )
    search.add_argument(
        "--rounds", type=count, default=10, metavar="N", help="repeats of the finalists (10)"
    )
    engine = parser.add_argument_group("engine and limits")
    engine.add_argument(
        "--engine", metavar="NAME", help="onednn (default for int8), pytorch, null or sim"
    )
    engine.add_argument(
        "--precision", default="int8", metavar="NAME", help="int8 (default), bf16 or fp32"
    )
    engine.add_argument(
        "--max-latency",
        type=positive,
        metavar="MS",
        help="Server: latency limit in milliseconds; default: the official one",
    )
    engine.add_argument("--user-conf", metavar="FILE", help="LoadGen's user.conf")
    add_data(parser.add_argument_group("model and data"))
    add_results(parser.add_argument_group("output"))


def execute(arguments: argparse.Namespace) -> int:
    """Check the options, then search."""
    options = read_options(arguments)
    from launch.tune.session import tune

    return tune(options)


def read_options(arguments: argparse.Namespace) -> TuneOptions:
    """The checked options; InputError names the option, its value and the cure."""
    scenario = scenario_of(arguments)
    if arguments.max_latency is not None and SCENARIOS[scenario].limit is None:
        raise InputError(f"--max-latency is Server's limit; {scenario} has none")
    engine, precision = engine_of(arguments)
    return TuneOptions(
        model=models.get(arguments.model).name,
        scenario=scenario,
        sources=find_sources(
            arguments.weights, arguments.images, arguments.labels, arguments.calibration
        ),
        engine=engine,
        precision=precision,
        max_latency_ms=arguments.max_latency,
        user_conf=find_user_conf(arguments.user_conf),
        budget_s=60 * arguments.budget,
        trials=arguments.trials,
        short_s=arguments.short,
        long_s=arguments.long,
        rounds=arguments.rounds,
        results=Path(arguments.results).absolute(),
    )
