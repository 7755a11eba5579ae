"""The documents of a submission, written from what the runs recorded."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np

import models
from launch.outcome.record.run import Record
from loadrun.scenarios import SCENARIOS

TRANSFORMATIONS = {
    "int8": (
        "batch normalisation folded; int8 by post-training quantisation, weights per output channel"
        " and activations per tensor (documentation/calibration.md)"
    ),
    "bf16": "batch normalisation folded; weights rounded to bf16",
    "fp32": "batch normalisation folded",
}


def user_conf(record: Record) -> str:
    """Return the settings that a person may choose, as LoadGen had them, in its format."""
    measured, scenario = record.measured, SCENARIOS[record.options.scenario]
    benchmark = models.benchmark(record.options.model).conf
    values: dict[str, object] = {scenario.target.key: f"{measured.target(scenario):.6g}"}
    values["min_duration"] = measured.needed("min_duration_ms")
    values["min_query_count"] = measured.needed("min_query_count")
    if measured.setting("server_coalesce_queries"):
        values["coalesce_queries"] = 1
    return "".join(
        f"{benchmark}.{scenario.name}.{name} = {value}\n" for name, value in values.items()
    )


def facts(record: Record) -> str:
    """Return the JSON on weights and data types."""
    precision, weights = record.options.precision, record.assets.weights
    values = {
        "input_data_types": ", ".join(_input_types(record)),
        "retraining": "No",
        "starting_weights_filename": weights.name if weights else "none",
        "weight_data_types": precision,
        "weight_transformations": TRANSFORMATIONS[precision],
    }
    return json.dumps(values, indent=2) + "\n"


def _input_types(record: Record) -> list[str]:
    """The types of the networks' inputs: of pixels, raw ones, which the network normalises."""
    task = models.get(record.options.model)
    inputs = (field for part in task.parts for field in part.inputs)
    return list(dict.fromkeys(np.dtype(field.dtype).name for field in inputs))


def readme(records: dict[str, Record]) -> str:
    """Return how a result came about: the commands, by what ran, and the plan."""
    first = next(iter(records.values()))
    options = first.options
    lines = [
        f"# {models.title(options.model)}, {options.scenario}",
        "",
        f"loadrun {first.versions.get('loadrun', '')}: "
        f"{len(first.plan.instances)} instances, batch size {options.batch_size}, engine"
        f" {options.engine}, {options.precision}.",
        "",
        "| run | command |",
        "|---|---|",
    ]
    for name, record in records.items():
        lines.append(f"| {name} | `{shlex.join(record.command)}` |")
    lines += ["", "| instance | processors | memory node |", "|---:|---|---:|"]
    for instance in first.plan.instances:
        processors = " ".join(map(str, instance.processors))
        lines.append(f"| {instance.index} | {processors} | {instance.memory_node} |")
    return "\n".join([*lines, ""])


def code(record: Record) -> str:
    """Return what ran and how it is had."""
    packages = "".join(
        f"| {name} | {version} |\n" for name, version in sorted(record.versions.items())
    )
    return (
        f"# {models.title(record.options.model)} on loadrun\n\n"
        "LoadGen runs in one process; the network runs in instances of its own, each bound to its\n"
        "processors, with samples and answers in shared memory. `loadrun submit` made this tree;\n"
        "the commands of each result stand beside its measurements.\n\n"
        f"| package | version |\n|---|---|\n{packages}"
    )


def calibration(written: str, system: str, records: list[Record]) -> str:
    """Return how int8 ranges were found, by system and model, from what the runs used.

    `written` is the document so far, in which other systems have their sections.
    """
    heading = f"# Calibration for {system}\n"
    sections = [part for part in re.split("(?m)^(?=# Calibration for )", written) if part.strip()]
    others = [part.strip() for part in sections if not part.startswith(heading)]
    by_model = {record.options.model: _calibration(record) for record in reversed(records)}
    return "\n\n".join([*others, heading, *by_model.values()]).strip() + "\n"


def _calibration(record: Record) -> str:
    title = f"## {models.title(record.options.model)}\n\n"
    items = models.get(record.options.model).items
    assets, precision = record.assets, record.options.precision
    if precision != "int8":
        return f"{title}None: the network runs in {precision}."
    weights, data = assets.weights, assets.data
    name, sha256 = (weights.name, weights.sha256) if weights else ("none", "")
    return (
        f"{title}"
        f"- weights: {name}, SHA-256 {sha256}; not retrained\n"
        f"- {items}: {assets.calibration}, preprocessed as those that are served"
        f" ({data.name if data else 'none'})\n"
        f"- compiled network: {assets.artifact}\n\n"
        "Batch normalisation is folded into the convolutions. One pass of the fp32 network over\n"
        f"the {items} finds, per tensor, the range of activations that minimises the squared\n"
        "error of their 8-bit values, and the covariance of the inputs of each layer. Weights are\n"
        "rounded to int8 with one scale per output channel; each rounding error is passed on to\n"
        "the weights still to be rounded, weighted by that covariance. Biases are corrected for\n"
        "the mean error that remains. Sums are int32; the first convolution takes the raw pixels,\n"
        "as their normalisation is part of its weights. The same program runs on every processor\n"
        "and gives the same answers there."
    )


def warning(reasons: list[str]) -> str:
    """Return what says that a tree must not be submitted."""
    listed = "".join(f"- {reason}\n" for reason in reasons)
    return f"# Not submittable\n\nThis tree shows the form only. Against it speak:\n\n{listed}"
