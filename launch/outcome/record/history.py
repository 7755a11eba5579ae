"""A run's history: from its record to what the next one in its place keeps of it."""

from __future__ import annotations

from launch.outcome.record.earlier import PERCENTILES, RunFacts
from launch.outcome.record.run import Record

KEPT = 30
"""Earlier runs that a run.json names, the newest first."""


def facts(record: Record) -> RunFacts:
    """The kept figures of a run."""
    options, measured, result = record.options, record.measured, record.result
    metric, found = (result.metric, result.latencies_ns) if result else (None, {})
    scenario, seconds, count = record.scenario, measured.served_s, len(measured.instances)
    return RunFacts(
        run_id=record.run_id,
        started=record.started,
        status=record.status,
        model=options.model,
        scenario=options.scenario,
        mode=options.mode,
        audit=options.audit,
        valid=result.valid if result else None,
        figure=metric.value if metric else None,
        unit=metric.unit if metric else None,
        latencies_ns={name: found[name] for name in PERCENTILES if name in found},
        harness_efficiency=measured.harness_efficiency,
        utilisation=measured.busy_s / seconds / count if seconds and count else None,
        duration_s=measured.duration_s,
        accuracy=record.accuracy.value if record.accuracy else None,
        synthetic=record.assets.synthetic,
        engine=options.engine,
        precision=options.precision,
        batch_size=options.batch_size,
        in_flight=options.in_flight,
        policy=options.policy,
        instances=len(record.plan.instances),
        cores=record.plan.cores_per_instance,
        target_qps=measured.setting(scenario.target.setting) if scenario.scheduled else None,
        weights=record.assets.weights.name if record.assets.weights else None,
        data=record.assets.data.name if record.assets.data else None,
        host=record.host.name,
        loadrun=record.versions.get("loadrun"),
        torch=record.versions.get("torch"),
    )


def history_after(earlier: Record | None) -> tuple[RunFacts, ...]:
    """The history of a run that takes the place of the run `earlier`, where there is one."""
    return () if earlier is None else (facts(earlier), *(earlier.history or ()))[:KEPT]


def same_kind(record: Record) -> list[RunFacts]:
    """Earlier runs of the kind of `record`, the newest first."""
    kind = facts(record).kind
    return [run for run in record.history or () if run.kind == kind]
