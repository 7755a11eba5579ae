"""`loadrun tune MODEL`: search the configuration that serves best on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

import models
from base.errors import InputError
from launch.commands.arguments import EXIT_CODES, engine_of, model_of, scenario_of
from launch.options import find_user_conf
from launch.options.declare import add, given
from launch.options.sources import sources_of
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
    add(parser, TuneOptions.options())


def execute(arguments: argparse.Namespace) -> int:
    """Check the options, then search."""
    options = read_options(arguments)
    from launch.tune.session import tune

    return tune(options)


def read_options(arguments: argparse.Namespace) -> TuneOptions:
    """The checked options; InputError names the option, its value and the cure."""
    scenario = scenario_of(arguments)
    if arguments.max_latency_ms is not None and SCENARIOS[scenario].limit is None:
        raise InputError(f"--max-latency is Server's limit; {scenario} has none")
    model = model_of(arguments)
    engine, precision = engine_of(arguments, model)
    found = {
        "model": model,
        "config_ver": None,
        "scenario": scenario,
        "sources": sources_of(arguments, models.get(model)),
        "engine": engine,
        "precision": precision,
        "user_conf": find_user_conf(arguments.user_conf),
        "results": Path(arguments.results).absolute(),
    }
    return TuneOptions(**{**given(TuneOptions, arguments), **found})
