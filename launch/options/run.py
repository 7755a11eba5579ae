"""What the user asked of a run: its options, declared once, and checked.

To add one, declare it here. What it goes to beside whoever reads the field is declared by `goes`
(base.options.Goes); parser, help, completion, words for child processes and run.json follow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from base.options import Goes, one_line, positive, whole
from base.options import count as at_least_one
from launch.options.declare import Options, nested, option
from launch.options.sources import Sources
from loadrun.scenarios import MODES, OFFLINE, PERFORMANCE_ONLY, SCENARIOS

if TYPE_CHECKING:
    from models.task import Task

FAST_DURATION_S = 60.0
IN_FLIGHT = 2
PLAN, ENGINE, TEST, OUTPUT = "plan", "engine", "test", "output"
PLANNED = ("instances", "cores", "batch_size", "oversubscribe")
"""Options that a tuned configuration stands against."""

LOADRUN, INSTANCES = Goes.LOADRUN, Goes.INSTANCES
RECORD, SHOWN = Goes.RECORD, Goes.RECORD | Goes.SHOWN
COMPARED = Goes.RECORD | Goes.SETTING | Goes.AUDIT


def _policies() -> Iterable[str]:
    from loadrun.dispatch.policies import NAMES

    return NAMES


def _engines() -> Iterable[str]:
    from netrun.engines import ENGINES

    return ENGINES


def _precisions() -> Iterable[str]:
    from netrun.engines import PRECISIONS

    return PRECISIONS


def _rounds() -> Iterable[str]:
    from loadrun.rounds import ROUNDS

    return ROUNDS


def _config_vers() -> Iterable[str]:
    from models.config_ver import CONFIG_VERS

    return CONFIG_VERS


def _audits() -> Iterable[str]:
    from launch.compliance.settings import AUDITS

    return AUDITS


def default_batch_size(task: Task, scenario: str) -> int:
    """What --batch-size is where it is not given.

    One long sample at a time: more are no faster, and would be lost with an instance that dies.
    """
    return 1 if task.stepwise else SCENARIOS[scenario].batch_size


@dataclass(frozen=True)
class TunedUse:
    """Whether a tuned configuration is used: its file, and the line about it for the user."""

    path: Path | None = None
    notice: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """One run as the user asked for it. Names are canonical; None leaves a choice to loadrun.

    `model` names the benchmark, of a task that has only one the task (`models.canonical`).
    `any_length`: it may last far longer than was asked for. `command` is what the user typed.
    `reference_qps` is the target rate of the run that this one is compared with; `qps`, what the
    user gave, wins over it.
    """

    model: str = option(
        "MODEL",
        f"{' or '.join(models.names())}, or a network of your own: FILE.py:TASK, FILE.onnx",
        names=models.choices,
        goes=RECORD | Goes.KIND | Goes.AUDIT,
    )
    config_ver: str | None = option(
        "--config-ver NAME",
        "which of a task's benchmarks: default (the first) or high_accuracy (what asks for most"
        " accuracy, in the precision that it takes)",
        TEST,
        names=_config_vers,
    )
    task: str | None = option(
        "--task NAME",
        "of FILE.onnx, a network of your own: whose data and metric it is for (imagenet)",
        ENGINE,
        names=lambda: ("imagenet",),
    )
    like: str | None = option(
        "--like NAME",
        "of FILE.onnx: images are preprocessed as this model's (default resnet50)",
        ENGINE,
        names=models.names,
    )
    tuned: TunedUse = option(
        "--[no-]tuned",
        "use what `loadrun tune` found; default: where it found something for this machine"
        " and none of --instances, --cores, --batch-size and --oversubscribe is given",
        PLAN,
    )
    instances: int | None = option("--instances N", "worker processes", PLAN, at_least_one)
    cores: int | None = option(
        "--cores N", "processors of all instances together", PLAN, at_least_one
    )
    strict: bool = option("--strict", "a plan larger than the machine is an error", PLAN)
    oversubscribe: bool = option(
        "--oversubscribe",
        "run a plan larger than the machine as asked, sharing processors",
        PLAN,
    )
    max_restarts: int = option(
        "--max-restarts N",
        "how often an instance that dies is started again (default 3)",
        PLAN,
        whole,
        default=3,
    )
    stall_limit_s: float = option(
        "--stall-limit S",
        "how long an instance may be stopped or silent before it counts as dead; one that"
        " works on a long batch gets more (default 5 s)",
        PLAN,
        positive,
        default=5.0,
    )
    engine: str = option(
        "--engine NAME",
        "onednn (default for int8), pytorch (for bf16 and fp32), null (answers at once) or"
        " sim (waits a modelled time)",
        ENGINE,
        names=_engines,
        goes=INSTANCES | COMPARED,
    )
    precision: str = option(
        "--precision NAME",
        "int8, bf16 or fp32 (default: what the benchmark's target takes, mostly int8)",
        ENGINE,
        names=_precisions,
        goes=INSTANCES | COMPARED,
    )
    batch_size: int = option(
        "--batch-size N",
        "samples of a batch at most; where they differ in work, as much as so many mean ones"
        " have (default:"
        f" {', '.join(f'{name} {known.batch_size}' for name, known in SCENARIOS.items())};"
        " 1 for volumes)",
        ENGINE,
        at_least_one,
        goes=LOADRUN | INSTANCES | COMPARED,
        title="batch size",
    )
    in_flight: int = option(
        "--in-flight N",
        f"batches an instance holds at most (default {IN_FLIGHT})",
        ENGINE,
        at_least_one,
        goes=LOADRUN | COMPARED,
        title="batches in flight",
    )
    policy: str = option(
        "--policy NAME",
        "how batches are dispatched: pull, least_loaded, round_robin or local_batch_first"
        " (default: Offline least_loaded, else pull)",
        ENGINE,
        names=_policies,
        goes=LOADRUN | COMPARED,
    )
    sort_samples: bool = option(
        "--[no-]sort-samples",
        "Offline: sort samples by their position in memory (default)",
        ENGINE,
        default=True,
        goes=LOADRUN,
    )
    through_ring: bool = option(
        "--through-ring",
        "SingleStream: a worker process behind a ring instead of one process",
        ENGINE,
    )
    sources: Sources = nested(Sources)
    fast: bool = option(
        "--fast", "60 s instead of 600, no minimum number of queries; not official", TEST
    )
    time_s: float | None = option("--time S", "minimum duration in seconds", TEST, positive)
    min_duration_ms: int | None = option(
        "--min-duration MS",
        "the same in milliseconds, as LoadGen's files have it",
        TEST,
        at_least_one,
    )
    count: int | None = option(
        "--count N",
        "queries of the test (Offline and AccuracyOnly: samples), however long they take;"
        " not official",
        TEST,
        at_least_one,
    )
    min_query_count: int | None = option(
        "--min-query-count N",
        "fewest queries of the test (Offline: samples), beside the minimum duration",
        TEST,
        at_least_one,
    )
    qps: float | None = option(
        "--qps X", "target_qps; default: from the measured rate", TEST, positive
    )
    max_latency_ms: float | None = option(
        "--max-latency MS",
        "Server: latency limit in milliseconds; SingleStream, MultiStream: expected latency of"
        " a query, from which LoadGen computes how many it makes; Offline has none",
        TEST,
        positive,
    )
    round: str | None = option(
        "--round NAME",
        "with the seeds of an MLPerf round, e.g. v5.0 (default: those of LoadGen's release)",
        TEST,
        names=_rounds,
        goes=LOADRUN | RECORD | Goes.AUDIT,
    )
    any_length: bool = option(
        "--yes",
        "run a test that takes far longer than was asked for without asking",
        TEST,
        goes=LOADRUN,
    )
    user_conf: Path | None = option(
        "--user-conf FILE", "LoadGen's user.conf; default: ./user.conf", TEST
    )
    results: Path = option(
        "--results DIR", "where results go (default: results)", OUTPUT, default="results"
    )
    track: str | None = option(
        "--track WHERE",
        "send the result to an experiment tracker, too: mlflow:URI or wandb:PROJECT",
        OUTPUT,
        one_line,
    )
    label: str | None = option("--label TEXT", "a note on the run", OUTPUT, one_line, goes=SHOWN)
    quiet: bool = option("--quiet", "write only the result, and what went wrong", OUTPUT)
    scenario: str = option(
        "--scenario NAME",
        "SingleStream, MultiStream, Server or Offline (default)",
        TEST,
        default=OFFLINE.name,
        names=lambda: SCENARIOS,
        goes=LOADRUN | RECORD | Goes.KIND | Goes.AUDIT,
    )
    mode: str = option(
        "--mode NAME",
        "PerformanceOnly (default), AccuracyOnly, SubmissionRun (both) or"
        " FindPeakPerformance (Server)",
        TEST,
        default=PERFORMANCE_ONLY.name,
        names=lambda: MODES,
        goes=LOADRUN | RECORD | Goes.KIND,
    )
    audit: str | None = option(
        "--audit NAME",
        "with the settings of a compliance test: TEST01, TEST04, TEST05 (loadrun audit judges it)",
        TEST,
        names=_audits,
        goes=RECORD | Goes.KIND,
    )
    json: bool = option(
        "--json", "print run.json on standard output, everything else on standard error", OUTPUT
    )
    command: tuple[str, ...] = field(default=("loadrun",), compare=False)
    reference_qps: float | None = None

    @property
    def in_process(self) -> bool:
        """SingleStream runs in one process, as there is never a second query to serve."""
        return SCENARIOS[self.scenario].one_sample and not self.through_ring

    @property
    def accuracy_only(self) -> bool:
        """Whether the run measures accuracy alone."""
        return MODES[self.mode].accuracy_only

    def words(self) -> list[str]:
        """The words that ask for the same, of which nothing is left to what was tuned."""
        return self.asking(**{**self.values(), "tuned": False})

    def recorded(self) -> dict[str, Any]:
        """What run.json says of the options, by name."""
        path = self.tuned.path
        return {
            **self.going_to(Goes.RECORD),
            "in_process": self.in_process,
            "tuned": path.name if path else None,
        }


@dataclass(frozen=True)
class CalibrateOptions:
    """A calibration as the user asked for it.

    `sources` without calibration data is the embedded synthetic default. `threads` is None where
    the default plan decides.
    """

    model: str
    sources: Sources
    engine: str
    batch_size: int
    threads: int | None
