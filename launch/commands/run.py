"""`loadrun run MODEL`: one LoadGen test from command to results."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import models
from base.errors import InputError
from launch.commands.arguments import engine_of, model_of, one_of, round_of, scenario_of
from launch.options import IN_FLIGHT, RunOptions, TunedUse, find_user_conf
from launch.options.declare import add, given
from launch.options.run import PLANNED, default_batch_size
from launch.options.sources import sources_of
from loadrun.scenarios import (
    MODES,
    PERFORMANCE_ONLY,
    SCENARIOS,
    UnknownNameError,
    parse_mode,
)

if TYPE_CHECKING:
    from launch.tune.space import Choice

SUMMARY = "run one LoadGen test: build what is missing, start the instances, measure, report"
DESCRIPTION = """\
Runs one MLPerf Inference test of MODEL over N pinned worker processes (instances). Samples and the
compiled model are built on first use and kept. Without --weights and --images an embedded synthetic
model and data set are used, and every output says so.
"""
EPILOG = """\
examples:
  loadrun run resnet50 --fast
  loadrun run resnet50 --instances 14 --cores 56 --batch-size 11
  loadrun run mobilenet --scenario server --fast
  loadrun run resnet50 --mode AccuracyOnly --weights resnet50.pth --images val --labels val_map.txt

exit codes: 0 VALID, or accuracy measured; 2 bad usage, configuration or input; 3 the test completed
and is INVALID; 4 the run failed; 130 interrupted.
"""


def add_arguments(parser: argparse.ArgumentParser, **fixed: object) -> None:
    """Add everything `loadrun run` accepts, but for the options that are `fixed` to a value."""
    options = RunOptions.options()
    add(parser, {name: option for name, option in options.items() if name not in fixed})
    parser.set_defaults(**fixed)


def execute(arguments: argparse.Namespace) -> int:
    """Check the options, then run."""
    options = read_options(arguments)
    # Only now, so that a wrong option is answered at once.
    from launch.run import run

    return run(options)


def read_options(arguments: argparse.Namespace) -> RunOptions:
    """The checked options of one run; InputError names the option, its value and the cure."""
    from loadrun.dispatch.policies import NAMES

    scenario = scenario_of(arguments)
    known = SCENARIOS[scenario]
    try:
        mode = parse_mode(arguments.mode)
    except UnknownNameError as error:
        raise InputError(str(error)) from None
    model = model_of(arguments)
    task = models.get(model)
    if MODES[mode].searches and not known.scheduled:
        raise InputError(f"--mode {mode} exists for --scenario Server only, not {scenario}")
    if arguments.through_ring and not known.one_sample:
        raise InputError(
            f"--through-ring is for SingleStream; {scenario} always runs through rings"
        )
    if arguments.max_latency_ms is not None and known.at_once:
        raise InputError(f"--max-latency: {scenario} has no latency limit")
    if arguments.strict and arguments.oversubscribe:
        raise InputError("--strict and --oversubscribe exclude each other: leave one out")
    if arguments.audit is not None:
        from launch.compliance.settings import check_round, parse_audit

        check_round(parse_audit(arguments.audit), round_of(arguments))
        if mode != PERFORMANCE_ONLY.name:
            raise InputError(f"--audit {arguments.audit} runs in PerformanceOnly, not {mode}")
    engine, precision = engine_of(arguments, model)
    choice, tuned = _find_tuned(arguments, model, scenario, engine, precision)
    asked = given(RunOptions, arguments)
    for name, value in (choice.options() if choice else {}).items():
        # Of the tuned settings, only policy and depth can be given beside the file.
        asked[name] = asked[name] or value
    policy = asked["policy"] or known.policy
    found = {
        "model": model,
        # The model's name says what they ask for.
        "config_ver": None,
        "task": None,
        "like": None,
        "scenario": scenario,
        "mode": mode,
        "tuned": tuned,
        "sources": sources_of(arguments, task),
        "engine": engine,
        "precision": precision,
        "policy": one_of("--policy", policy.replace("-", "_"), NAMES),
        "batch_size": asked["batch_size"] or default_batch_size(task, scenario),
        "in_flight": asked["in_flight"] or IN_FLIGHT,
        "user_conf": find_user_conf(asked["user_conf"]),
        **_length(arguments),
        "audit": asked["audit"].upper() if asked["audit"] else None,
        "round": round_of(arguments),
        "results": Path(asked["results"]).absolute(),
    }
    return RunOptions(**{**asked, **found}, command=("loadrun", *sys.argv[1:]))


def _length(arguments: argparse.Namespace) -> dict[str, object]:
    """The options that bound a test from below, each under one name; InputError for two of them."""
    time_s, ms = arguments.time_s, arguments.min_duration_ms
    if time_s is not None and ms is not None:
        raise InputError(f"--time {time_s:g} and --min-duration {ms}: one of them is enough")
    count, least = arguments.count, arguments.min_query_count
    if count is not None and least is not None:
        raise InputError(
            f"--count {count} and --min-query-count {least} exclude each other: leave one out"
        )
    return {"time_s": time_s if ms is None else ms / 1e3, "min_duration_ms": None}


def _tune_command(
    arguments: argparse.Namespace, model: str, scenario: str, engine: str, precision: str
) -> str:
    """The search whose result would serve this run."""
    words = ["loadrun", "tune", model, "--scenario", scenario.lower()]
    if arguments.engine:
        words += ["--engine", engine]
    if precision != "int8":
        words += ["--precision", precision]
    if SCENARIOS[scenario].scheduled and arguments.max_latency_ms is not None:
        words += ["--max-latency", f"{arguments.max_latency_ms:g}"]
    return " ".join(words)


def _find_tuned(
    arguments: argparse.Namespace, model: str, scenario: str, engine: str, precision: str
) -> tuple[Choice | None, TunedUse]:
    """The tuned configuration to use, if any, and what to say of it.

    InputError where --tuned asks for one that is not there or contradicts another option.
    """
    from launch.machine.topology import read_topology
    from launch.tune.tuned import read_tuned, tuned_path, why_not

    if arguments.tuned is False:
        return None, TunedUse()
    against = [RunOptions.flag(name) for name in PLANNED if getattr(arguments, name)]
    if arguments.tuned and against:
        raise InputError(f"--tuned and {against[0]} exclude each other: leave one out")
    path = tuned_path(model, scenario, engine, precision)
    if not arguments.tuned and not path.exists():
        return None, TunedUse()
    found = read_tuned(path)
    cure = _tune_command(arguments, model, scenario, engine, precision)
    if found is None:
        raise InputError(f"--tuned: {path} is not there ({cure} makes it)")
    if against:
        return None, TunedUse(notice=f"not used, as {against[0]} is given")
    reason = why_not(found, read_topology(), arguments.max_latency_ms)
    if reason is not None and arguments.tuned:
        raise InputError(f"--tuned: {path} is not for this run: {reason} ({cure})")
    if reason is not None:
        return None, TunedUse(notice=f"not used: {reason} ({cure} renews it)")
    gain = f"{100 * found.gain:+.1f}% over the default, {found.repeats} repeats"
    return found.choice, TunedUse(path, f"{found.choice} ({gain}; --no-tuned leaves it out)")
