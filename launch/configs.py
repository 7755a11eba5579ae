"""The configuration files of a run's processes, from options, plan and assets."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import models
from base.options import Goes
from launch.build.assets import Assets
from launch.compliance.settings import SEEDS_TEST
from launch.machine.plan import InstancePlan, Plan
from launch.options import FAST_DURATION_S, RunOptions
from loadrun.config import LoadrunConfig, Overrides
from loadrun.scenarios import SCENARIOS
from models import artifact
from models.samples import Prepared
from netrun.config import NetrunConfig
from netrun.engines.onednn.pack import KIND

START_TIMEOUT_S = 180.0
WARMUP_S = (0.5, 2.0)
"""Least and most seconds in which the instances measure their rates."""
WARMUP_SHARE = 0.2
"""The same as a share of the test's duration."""
SPIN_US = 100.0
"""Where cores are shared: about twice what a wake-up costs, so that no wait costs more than double.
"""
OWN_CORE_SPIN_US = 1000.0
"""An instance that nobody shares its cores with answers sooner when it need not be woken."""
LOADRUN_OWN_CORE_SPIN_US = 1e6
"""Where latency counts, loadrun never sleeps on a core of its own: all instances wait for it."""
LOADRUN_REPORT = "loadrun.json"


def overrides(options: RunOptions) -> Overrides:
    """What the options change of LoadGen's settings.

    --fast asks for 60 s and no number of queries; --time, --count and the others are more
    specific and win over it. --count alone asks for no duration: LoadGen then makes that many
    queries, and needs no bound, whose reaching it would log as an error. The samples of
    AccuracyOnly are counted in `sample_count`.
    """
    count = None if options.accuracy_only else options.count
    duration_s = FAST_DURATION_S if options.fast else None
    if options.time_s is not None:
        duration_s = options.time_s
    elif count is not None:
        duration_s = 0.0
    return Overrides(
        min_duration_s=duration_s,
        min_query_count=count or options.min_query_count or (1 if options.fast else None),
        max_query_count=0 if count is not None and options.time_s is None else count,
        target_qps=options.qps or options.reference_qps,
        target_latency_ms=options.max_latency_ms,
    )


def warmup_s(options: RunOptions) -> float:
    """How long the instances measure their rates (s): less before a short test.

    Least where no length depends on the rate: AccuracyOnly, and a number of queries that is given.
    """
    least, most = WARMUP_S
    if options.accuracy_only:
        return least
    duration_s = overrides(options).min_duration_s
    return most if duration_s is None else min(most, max(least, WARMUP_SHARE * duration_s))


def loadrun_spin_us(spins: bool, scenario: str) -> float:
    """How long loadrun looks for answers before it sleeps; `spins` as the plan says.

    In Offline an instance has its next batch long before it needs it.
    """
    return LOADRUN_OWN_CORE_SPIN_US if spins and not SCENARIOS[scenario].at_once else SPIN_US


def instance_spin_us(spins: bool, oversubscribed: bool) -> float:
    """How long an instance looks for a batch before it sleeps; both as the plan says.

    Instances that share processors sleep at once: spinning, they would slow each other.
    """
    if oversubscribed:
        return 0.0
    return OWN_CORE_SPIN_US if spins else SPIN_US


def loadrun_config(
    options: RunOptions, plan: Plan, assets: Assets, run_id: str, directory: Path
) -> LoadrunConfig:
    """The configuration of the loadrun process."""
    task, benchmark = models.get(options.model), models.benchmark(options.model)
    samples = assets.samples.count
    if options.accuracy_only and options.count is not None:
        samples = min(samples, options.count)
    audit = directory / "audit.config"
    largest = Prepared.open(Path(assets.samples.path)).largest()
    return LoadrunConfig(
        run_id=run_id,
        model=benchmark.conf,
        **{
            **options.going_to(Goes.LOADRUN),
            "batch_size": assets.samples.most_samples(options.batch_size),
        },
        batch_cost=assets.samples.batch_cost(options.batch_size),
        log_dir=str(directory),
        samples=assets.samples.path,
        sample_count=samples,
        performance_sample_count=benchmark.performance_samples,
        offline_samples=benchmark.offline_samples,
        server_latency_ms=benchmark.server_ms,
        report=str(directory / LOADRUN_REPORT),
        instances=len(plan.instances),
        response_bytes=task.longest_answer(largest),
        user_conf=str(options.user_conf) if options.user_conf else None,
        audit_config=str(audit) if options.audit else None,
        other_seeds=options.audit == SEEDS_TEST,
        processors=None if options.in_process else list(plan.loadrun),
        spin_us=loadrun_spin_us(plan.spins, options.scenario),
        batch_ms=measured_batch_ms(assets),
        overrides=overrides(options),
        start_timeout_s=START_TIMEOUT_S,
    )


def measured_batch_ms(assets: Assets) -> list[float]:
    """What batches of 1, 2, ... samples took when the artifact was compiled; none where unknown.

    Where samples differ in work, what was measured tells nothing of mean ones.
    """
    if assets.artifact is not None and assets.samples.costs is None:
        # Other engines' artifacts are of other kinds, and unmeasured.
        with suppress(artifact.ArtifactError):
            return list(artifact.read_facts(Path(assets.artifact), KIND)["batch_ms"])
    return []


def netrun_config(
    options: RunOptions,
    plan: Plan,
    instance: InstancePlan,
    assets: Assets,
    run_id: str,
    directory: Path,
) -> NetrunConfig:
    """The configuration of one instance."""
    return NetrunConfig(
        run_id=run_id,
        instance=instance.index,
        model=assets.model,
        **{
            **options.going_to(Goes.INSTANCES),
            "batch_size": assets.samples.most_samples(options.batch_size),
        },
        batch_cost=assets.samples.batch_cost(options.batch_size),
        artifact=assets.artifact or "",
        threads=len(instance.processors),
        report=str(directory / f"netrun_{instance.index}.json"),
        processors=list(instance.processors),
        memory_node=instance.memory_node,
        warmup_s=warmup_s(options),
        spin_us=instance_spin_us(plan.spins, plan.oversubscribed),
        attach_timeout_s=START_TIMEOUT_S,
    )
