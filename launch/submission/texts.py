"""The documents of a submission, written from what the runs recorded."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np

import models
from launch.outcome.record.run import Record
from loadrun.scenarios import SCENARIOS
from models.method import Method
from models.quantize.method import float_weights, method_of
from netrun.engines.registry import facts as facts_of

_SEEDS = ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed")
_IN_MEMORY, _PERMUTED = "performance_sample_count_override", "sample_concatenate_permutation"


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


def mlperf_conf(record: Record) -> str:
    """Return the round's rules for the run, as LoadGen had them: mlperf.conf, this run's part.

    LoadGen's package holds the whole of it, and reads no file.
    """
    measured, scenario = record.measured, SCENARIOS[record.options.scenario]
    benchmark = models.benchmark(record.options.model).conf
    settings = [
        *(("*.*", name, name) for name in _SEEDS),
        (f"{benchmark}.*", _IN_MEMORY, _IN_MEMORY),
        (f"{benchmark}.*", _PERMUTED, _PERMUTED),
        (f"*.{scenario.name}", "target_latency_percentile", scenario.percentile),
        (f"{benchmark}.{scenario.name}", "target_latency", scenario.limit),
        (f"*.{scenario.name}", "samples_per_query", scenario.samples_per_query),
    ]
    # Latencies are in ms, shares in percent.
    factors = {scenario.limit: 1e-6, scenario.percentile: 100}
    lines = []
    for whose, name, setting in settings:
        value = measured.setting(setting)
        if value is not None:
            shown = f"{value * factors[setting]:g}" if setting in factors else f"{int(value)}"
            lines.append(f"{whose}.{name} = {shown}\n")
    return "".join(lines)


def facts(record: Record) -> str:
    """Return the JSON on weights and data types."""
    precision, weights = record.options.precision, record.assets.weights
    values = {
        "input_data_types": ", ".join(_input_types(record)),
        "retraining": "No",
        "starting_weights_filename": weights.name if weights else "none",
        "weight_data_types": precision,
        "weight_transformations": _transformed(record),
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
        f"{_method(record).text.format(items=items)}"
    )


def _method(record: Record) -> Method:
    """How the engine's network was quantised: by the engine itself, or by models.quantize."""
    own = facts_of(record.options.engine).int8
    return own or method_of(models.get(record.options.model))


def _transformed(record: Record) -> str:
    """What became of the weights, in a line."""
    precision = record.options.precision
    if precision == "int8":
        return f"{_method(record).weights} (documentation/calibration.md)"
    return float_weights(models.get(record.options.model), precision)


def warning(reasons: list[str]) -> str:
    """Return what says that a tree must not be submitted."""
    listed = "".join(f"- {reason}\n" for reason in reasons)
    return f"# Not submittable\n\nThis tree shows the form only. Against it speak:\n\n{listed}"
