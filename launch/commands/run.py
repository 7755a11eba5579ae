"""`loadrun run MODEL`: one LoadGen test from command to results."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import models
from base.errors import InputError
from launch.commands.arguments import (
    add_data,
    add_model,
    add_results,
    add_scenario,
    count,
    engine_of,
    one_of,
    positive,
    round_of,
    scenario_of,
    whole,
)
from launch.options import (
    IN_FLIGHT,
    RunOptions,
    TunedUse,
    find_sources,
    find_user_conf,
)
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything `loadrun run` accepts."""
    groups = add_run_arguments(parser)
    add_scenario(groups.test)
    add_mode(groups)


class Groups(NamedTuple):
    """The groups to which commands add what is theirs."""

    test: argparse._ArgumentGroup
    output: argparse._ArgumentGroup


def add_run_arguments(parser: argparse.ArgumentParser) -> Groups:
    """Add what `run`, `single-stream` and `audit` share."""
    add_model(parser)
    _add_plan(parser.add_argument_group("plan"))
    _add_engine(parser.add_argument_group("engine"))
    add_data(parser.add_argument_group("model and data"))
    test = parser.add_argument_group("test")
    _add_test(test)
    output = parser.add_argument_group("output")
    add_results(output)
    output.add_argument(
        "--quiet", action="store_true", help="write only the result, and what went wrong"
    )
    return Groups(test, output)


def add_mode(groups: Groups) -> None:
    """Add what says which kind of test it is, and how it is told."""
    groups.test.add_argument(
        "--mode",
        default=PERFORMANCE_ONLY.name,
        metavar="NAME",
        help="PerformanceOnly (default), AccuracyOnly, SubmissionRun (both) or"
        " FindPeakPerformance (Server)",
    )
    groups.test.add_argument(
        "--audit",
        metavar="NAME",
        help="with the settings of a compliance test, TEST01 or TEST04 (loadrun audit judges it)",
    )
    groups.output.add_argument(
        "--json",
        action="store_true",
        help="print run.json on standard output, everything else on standard error",
    )


def _add_plan(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--tuned",
        action=argparse.BooleanOptionalAction,
        help="use what `loadrun tune` found; default: where it found something for this machine"
        " and none of --instances, --cores, --batch-size and --oversubscribe is given",
    )
    group.add_argument("--instances", type=count, metavar="N", help="worker processes")
    group.add_argument(
        "--cores", type=count, metavar="N", help="processors of all instances together"
    )
    group.add_argument(
        "--strict", action="store_true", help="a plan larger than the machine is an error"
    )
    group.add_argument(
        "--oversubscribe",
        action="store_true",
        help="run a plan larger than the machine as asked, sharing processors",
    )
    group.add_argument(
        "--max-restarts",
        type=whole,
        default=3,
        metavar="N",
        help="how often an instance that dies is started again (default 3)",
    )
    group.add_argument(
        "--stall-limit",
        type=positive,
        default=5.0,
        metavar="S",
        help="how long an instance may be stopped or silent before it counts as dead; one that"
        " works on a long batch gets more (default 5 s)",
    )


def _add_engine(group: argparse._ArgumentGroup) -> None:
    sizes = ", ".join(f"{name} {scenario.batch_size}" for name, scenario in SCENARIOS.items())
    group.add_argument(
        "--engine",
        metavar="NAME",
        help="onednn (default for int8), pytorch (for bf16 and fp32), null (answers at once) or"
        " sim (waits a modelled time)",
    )
    group.add_argument(
        "--precision", default="int8", metavar="NAME", help="int8 (default), bf16 or fp32"
    )
    group.add_argument(
        "--batch-size",
        type=count,
        metavar="N",
        help=f"samples of a batch at most (default: {sizes})",
    )
    group.add_argument(
        "--in-flight",
        type=count,
        metavar="N",
        help=f"batches an instance holds at most (default {IN_FLIGHT})",
    )
    group.add_argument(
        "--policy",
        metavar="NAME",
        help="how batches are dispatched: pull, least_loaded, round_robin or local_batch_first"
        " (default: Offline least_loaded, else pull)",
    )
    group.add_argument(
        "--sort-samples",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="Offline: sort samples by their position in memory (default)",
    )
    group.add_argument(
        "--through-ring",
        action="store_true",
        help="SingleStream: a worker process behind a ring instead of one process",
    )


def _add_test(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--fast",
        action="store_true",
        help="60 s instead of 600, no minimum number of queries; not official",
    )
    group.add_argument("--time", type=positive, metavar="S", help="minimum duration in seconds")
    group.add_argument(
        "--count",
        type=count,
        metavar="N",
        help="queries of the test (Offline: samples; AccuracyOnly: images), however long they take;"
        " not official",
    )
    group.add_argument(
        "--qps", type=positive, metavar="X", help="target_qps; default: from the measured rate"
    )
    group.add_argument(
        "--max-latency",
        type=positive,
        metavar="MS",
        help="Server: latency limit in milliseconds; SingleStream, MultiStream: expected latency of"
        " a query, from which LoadGen computes how many it makes; Offline has none",
    )
    group.add_argument(
        "--round",
        metavar="NAME",
        help="with the seeds of an MLPerf round, e.g. v5.0 (default: those of LoadGen's release)",
    )
    group.add_argument(
        "--yes",
        action="store_true",
        help="run a test that takes far longer than was asked for without asking",
    )
    group.add_argument(
        "--user-conf", metavar="FILE", help="LoadGen's user.conf; default: ./user.conf"
    )


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
    model = models.get(arguments.model)
    if MODES[mode].searches and not known.scheduled:
        raise InputError(f"--mode {mode} exists for --scenario Server only, not {scenario}")
    if arguments.through_ring and not known.one_sample:
        raise InputError(
            f"--through-ring is for SingleStream; {scenario} always runs through rings"
        )
    if arguments.max_latency is not None and known.at_once:
        raise InputError(f"--max-latency: {scenario} has no latency limit")
    if arguments.strict and arguments.oversubscribe:
        raise InputError("--strict and --oversubscribe exclude each other: leave one out")
    if arguments.audit is not None:
        from launch.compliance.settings import audit_config

        audit_config(arguments.audit)
        if mode != PERFORMANCE_ONLY.name:
            raise InputError(f"--audit {arguments.audit} runs in PerformanceOnly, not {mode}")
    engine, precision = engine_of(arguments)
    choice, tuned = _find_tuned(arguments, model.name, scenario, engine, precision)
    if choice is not None:
        arguments.instances, arguments.cores = choice.layout.instances, choice.layout.cores
        arguments.batch_size = choice.batch_size
        arguments.policy = arguments.policy or choice.policy
        arguments.in_flight = arguments.in_flight or choice.in_flight
    return RunOptions(
        model=model.name,
        scenario=scenario,
        mode=mode,
        sources=find_sources(
            arguments.weights, arguments.images, arguments.labels, arguments.calibration
        ),
        engine=engine,
        precision=precision,
        policy=one_of("--policy", (arguments.policy or known.policy).replace("-", "_"), NAMES),
        batch_size=arguments.batch_size or known.batch_size,
        in_flight=arguments.in_flight or IN_FLIGHT,
        instances=arguments.instances,
        cores=arguments.cores,
        strict=arguments.strict,
        oversubscribe=arguments.oversubscribe,
        through_ring=arguments.through_ring,
        sort_samples=arguments.sort_samples,
        fast=arguments.fast,
        count=arguments.count,
        time_s=arguments.time,
        qps=arguments.qps,
        max_latency_ms=arguments.max_latency,
        user_conf=find_user_conf(arguments.user_conf),
        audit=arguments.audit.upper() if arguments.audit else None,
        round=round_of(arguments),
        results=Path(arguments.results).absolute(),
        json=arguments.json,
        quiet=arguments.quiet,
        max_restarts=arguments.max_restarts,
        stall_limit_s=arguments.stall_limit,
        command=("loadrun", *sys.argv[1:]),
        tuned=tuned,
        any_length=arguments.yes,
    )


def _tune_command(
    arguments: argparse.Namespace, model: str, scenario: str, engine: str, precision: str
) -> str:
    """The search whose result would serve this run."""
    words = ["loadrun", "tune", model, "--scenario", scenario.lower()]
    if arguments.engine:
        words += ["--engine", engine]
    if precision != "int8":
        words += ["--precision", precision]
    if SCENARIOS[scenario].scheduled and arguments.max_latency is not None:
        words += ["--max-latency", f"{arguments.max_latency:g}"]
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
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("instances", "cores", "batch_size", "oversubscribe")
        if getattr(arguments, name)
    ]
    if arguments.tuned and given:
        raise InputError(f"--tuned and {given[0]} exclude each other: leave one out")
    path = tuned_path(model, scenario, engine, precision)
    if not arguments.tuned and not path.exists():
        return None, TunedUse()
    found = read_tuned(path)
    cure = _tune_command(arguments, model, scenario, engine, precision)
    if found is None:
        raise InputError(f"--tuned: {path} is not there ({cure} makes it)")
    if given:
        return None, TunedUse(notice=f"not used, as {given[0]} is given")
    reason = why_not(found, read_topology(), arguments.max_latency)
    if reason is not None and arguments.tuned:
        raise InputError(f"--tuned: {path} is not for this run: {reason} ({cure})")
    if reason is not None:
        return None, TunedUse(notice=f"not used: {reason} ({cure} renews it)")
    gain = f"{100 * found.gain:+.1f}% over the default, {found.repeats} repeats"
    return found.choice, TunedUse(path, f"{found.choice} ({gain}; --no-tuned leaves it out)")
