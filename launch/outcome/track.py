"""Sends a result to an experiment tracker that the user names: MLflow or Weights & Biases.

Nothing is imported, and nothing sent, unless `--track` asks for it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from base.errors import InputError
from launch.outcome.record.run import Record
from launch.outcome.results import REPORT, RUN_JSON
from models.packages import installing_extra

TRACKERS = ("mlflow", "wandb")
EXPERIMENT = "loadrun"
FILES = (RUN_JSON, REPORT, "mlperf_log_summary.txt")
"""What of a run goes along, where it is there."""


@dataclass(frozen=True)
class Tracker:
    """Which one, and where: MLflow's tracking URI, or a project of Weights & Biases."""

    name: str
    where: str


def parse_track(text: str) -> Tracker:
    """The tracker that --track names; InputError for another, and for one that is not installed."""
    name, _, where = text.partition(":")
    if name not in TRACKERS:
        raise InputError(f"--track {text}: give mlflow:URI or wandb:PROJECT")
    if name == "mlflow" and not where:
        raise InputError(
            f"--track {text}: where to? mlflow:http://HOST:5000, mlflow:sqlite:///FILE"
        )
    if urlsplit(where).password is not None:
        # What is on the command line stands in run.json, and in the list of processes.
        raise InputError(
            "--track: a password does not belong into a URI: MLFLOW_TRACKING_USERNAME and"
            " MLFLOW_TRACKING_PASSWORD take it"
        )
    if importlib.util.find_spec(name) is None:
        raise InputError(f"--track {text}: is not installed: {installing_extra(name)}")
    return Tracker(name, where or EXPERIMENT)


def track(tracker: Tracker, record: Record, folder: Path) -> str:
    """Send a run's facts, figures and files; returns where they are, for the user.

    Raises whatever the tracker's package raises.
    """
    send = {"mlflow": _to_mlflow, "wandb": _to_wandb}[tracker.name]
    files = [folder / name for name in FILES if (folder / name).is_file()]
    return send(tracker.where, record, files)


def facts(record: Record) -> dict[str, Any]:
    """What the run was: strings and numbers by name."""
    options, plan = record.options, record.plan
    return {
        "benchmark": record.benchmark or options.model,
        "scenario": options.scenario,
        "mode": options.mode,
        "engine": options.engine,
        "precision": options.precision,
        "batch_size": options.batch_size,
        "instances": len(plan.instances),
        "processor": record.host.processor,
        "synthetic": bool(record.assets.synthetic),
        "official": bool(record.official),
        "run_id": record.run_id,
        "loadrun": record.versions.get("loadrun", ""),
    }


def figures(record: Record) -> dict[str, float]:
    """What came of it: LoadGen's figure, latencies in ms, accuracy in percent, 1 for VALID."""
    found: dict[str, float] = {}
    result, accuracy = record.result, record.accuracy
    if result is not None:
        if result.metric is not None:
            found[_key(result.metric.name)] = float(result.metric.value)
        found |= {f"latency_{name}_ms": ns / 1e6 for name, ns in result.latencies_ns.items()}
        if result.valid is not None:
            found["valid"] = float(result.valid)
    if accuracy is not None:
        found[_key(accuracy.metric)] = 100 * accuracy.value
    return found


def _key(name: str) -> str:
    """A name as both trackers take it."""
    return "".join(c if c.isalnum() else "_" for c in name).strip("_").lower()


def _title(record: Record) -> str:
    options = record.options
    return f"{options.model} {options.scenario} {options.mode}"


def _to_mlflow(uri: str, record: Record, files: list[Path]) -> str:
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_name=_title(record)) as run:
        mlflow.log_params(facts(record))
        mlflow.log_metrics(figures(record))
        for file in files:
            mlflow.log_artifact(str(file))
        return f"MLflow run {run.info.run_id} at {uri}"


def _to_wandb(project: str, record: Record, files: list[Path]) -> str:
    import wandb

    described: Mapping[str, Any] = facts(record)
    with wandb.init(project=project, name=_title(record), config=dict(described)) as run:
        run.log(figures(record))
        for file in files:
            run.save(str(file), base_path=str(file.parent), policy="now")
        return f"Weights & Biases run {run.id} of {project} ({run.dir})"
