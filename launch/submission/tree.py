"""Assembles the tree of a submission from results: aside, then in its place.

A tree holds the systems of one submitter, in one or both divisions, each written by a call of its
own. A call replaces the files of its system and leaves everything else as it is.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import models
from base.errors import RunError
from base.text import printable
from launch.compliance.folder import copy_logs, folder_of
from launch.compliance.references import ACCURACY, PERFORMANCE, place
from launch.options import RunOptions
from launch.outcome.record.run import Record, load
from launch.outcome.results import ACCURACY_LOG, OLD, RUN_JSON, read_json, replace_folder
from launch.outcome.room import describe_error
from launch.submission import rules, texts
from launch.submission.accuracy_log import accuracy_text, truncate
from launch.submission.layout import Layout
from models.task import Task

ASIDE = ".aside"
ACCURACY_TEXT = "accuracy.txt"
WARNING = "NOT_SUBMITTABLE-{division}-{system}.md"
MAPPING = "model_mapping.json"
"""In the open division: which benchmark a model of another name stands for."""
AGAIN = "the same command makes it again"


def write_tree(layout: Layout, system: dict[str, Any], results: list[RunOptions]) -> list[str]:
    """Write the system's part of the tree below `layout.root`.

    `results` are the options of each model and scenario. Returns what speaks against submitting
    it, which a file in the tree says too. RunError for results that are no longer there, and where
    the tree cannot be written.
    """
    aside = layout.root / f".{layout.division}-{layout.system}{ASIDE}"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        reasons = _write_draft(layout, aside, system, results)
        (layout.root / _warning(layout)).unlink(missing_ok=True)
        _take_place(aside, layout.root, layout.own)
    except OSError as error:
        raise RunError(
            f"{describe_error(error)} (--out chooses another place for the tree)"
        ) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return reasons


def _write_draft(
    layout: Layout,
    aside: Path,
    system: dict[str, Any],
    results: list[RunOptions],
) -> list[str]:
    draft = replace(layout, root=aside)
    _write(draft.description, json.dumps(system, indent=2) + "\n")
    reasons: dict[str, None] = {}
    records: list[Record] = []
    for options in results:
        filed = _write_result(draft, options)
        records += filed.values()
        for record in filed.values():
            audit = f"audit {record.options.audit}"
            found = [reason for reason in record.unofficial_reasons or () if reason != audit]
            if draft.division == rules.CLOSED:
                found += _misses(record)
            for reason in found:
                reasons[f"{options.model} {options.scenario}: {reason}"] = None
    written = layout.calibration.read_text(encoding="utf-8") if layout.calibration.exists() else ""
    _write(draft.calibration, texts.calibration(written, layout.system, records))
    if draft.division == rules.OPEN:
        names = read_json(layout.home / MAPPING) or {}
        names |= {name: models.benchmark(name).checker_name for name in _models(results)}
        _write(draft.home / MAPPING, json.dumps(names, indent=2) + "\n")
    if reasons:
        _write(draft.root / _warning(draft), texts.warning(list(reasons)))
    return list(reasons)


def _models(results: list[RunOptions]) -> list[str]:
    return list(dict.fromkeys(options.model for options in results))


def _warning(layout: Layout) -> str:
    return WARNING.format(division=layout.division, system=layout.system)


def _misses(record: Record) -> list[str]:
    """What the closed division asks of an accuracy run and this one has not."""
    accuracy = record.accuracy
    if accuracy is None:
        return []
    task, benchmark = models.get(record.options.model), models.benchmark(record.options.model)
    if accuracy.total != benchmark.samples:
        return [f"accuracy over {accuracy.total:,} of {benchmark.samples:,} {task.items}"]
    if 100 * accuracy.value >= benchmark.target:
        return []
    return [f"{benchmark.metric} {100 * accuracy.value:.3f}%, below {benchmark.target:.3f}%"]


def _take_place(aside: Path, root: Path, own: tuple[Path, ...]) -> None:
    """Move what was written below `root`: directories of `own` whole, the rest file by file."""
    for source in sorted(aside.iterdir()):
        target = root / source.name
        if not source.is_dir():
            source.replace(target)
        elif target in own:
            replace_folder(source, target)
            for old in target.parent.glob(f".{target.name}{OLD}*"):
                shutil.rmtree(old, ignore_errors=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            _take_place(source, target, own)


def _write_result(layout: Layout, options: RunOptions) -> dict[str, Record]:
    """Write all of one model and scenario; returns the records of its runs."""
    model, scenario = options.model, options.scenario
    task = models.get(model)
    tests = rules.tests(layout.division, task.benchmark(model), options.round)
    places = {name: place(options, name) for name in (PERFORMANCE, ACCURACY, *tests)}
    records = {name: load(where / RUN_JSON, AGAIN) for name, where in places.items()}
    home = layout.results(model, scenario)
    copy_logs(places[PERFORMANCE], home / "performance" / "run_1")
    copy_logs(places[ACCURACY], home / "accuracy")
    _write_accuracy(places[ACCURACY] / ACCURACY_LOG, home / "accuracy", records[ACCURACY], task)
    performance = records[PERFORMANCE]
    measurements = layout.measurements(model, scenario)
    _write(layout.facts(model, scenario), texts.facts(performance))
    _write(measurements / "user.conf", texts.user_conf(performance))
    rules_file = layout.rules(model, scenario)
    if rules_file is not None:
        _write(rules_file, texts.mlperf_conf(performance))
    _write(measurements / "README.md", texts.readme(records))
    _write(layout.code(model), texts.code(performance))
    for test in tests:
        source = folder_of(options.results, model, scenario, test)
        target = layout.compliance(model, scenario, test)
        shutil.copytree(source, target)
        if (source / "accuracy").is_dir():
            _write_accuracy(source / "accuracy" / ACCURACY_LOG, target / "accuracy", None, task)
    return records


def _write_accuracy(log: Path, target: Path, record: Record | None, task: Task) -> None:
    """Write the truncated log and accuracy.txt; a log of part of the answers has no accuracy."""
    sha256 = truncate(log, target / ACCURACY_LOG)
    measured = ""
    if record is not None:
        if record.accuracy is None:
            why = record.assets.labels_from or "--labels"
            raise RunError(
                f"{log.parent}: no accuracy, as the {task.items} have no {task.truths} ({why})"
            )
        measured = record.accuracy.text
    (target / ACCURACY_TEXT).write_text(accuracy_text(measured, sha256), encoding="utf-8")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(printable(text), encoding="utf-8")
