"""The compliance folder of one test, laid out as a submission has it.

::

    <results>/compliance/<model>/<scenario>/TEST01/   (TEST04: without files of accuracy)
        verify_accuracy.txt
        verify_performance.txt
        accuracy/mlperf_log_accuracy.json
            baseline_accuracy.txt, compliance_accuracy.txt, where the metric decided
        performance/run_1/mlperf_log_summary.txt, mlperf_log_detail.txt

Layout: tools/submission/submission_structure.md of mlcommons/inference.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import models
from launch.compliance.rules import Verdict
from launch.outcome.results import ACCURACY_LOG, replace_folder

LOGS = ("mlperf_log_summary.txt", "mlperf_log_detail.txt")


def folder_of(results: Path, model: str, scenario: str, test: str) -> Path:
    """Return where the folder of a test stands."""
    return results / "compliance" / models.label(model) / scenario / test


def logs_in(folder: Path) -> Path:
    """Return where the logs of the audit run stand in a test's folder."""
    return folder / "performance" / "run_1"


def copy_logs(run: Path, place: Path) -> None:
    """Copy LoadGen's logs of a run into the new directory `place`."""
    place.mkdir(parents=True)
    for name in LOGS:
        shutil.copyfile(run / name, place / name)


def write_folder(
    results: Path, model: str, scenario: str, test: str, run: Path, verdicts: dict[str, Verdict]
) -> Path:
    """Write the folder aside, then put it in its place, which is returned.

    `run` holds the logs of the audit run; `verdicts` are those on "accuracy" and "performance".
    """
    place = folder_of(results, model, scenario, test)
    aside = place.with_name(f".{test}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    copy_logs(run, logs_in(aside))
    for what, verdict in verdicts.items():
        (aside / f"verify_{what}.txt").write_text(verdict.text(), encoding="utf-8")
    if "accuracy" in verdicts:
        (aside / "accuracy").mkdir()
        shutil.copyfile(run / ACCURACY_LOG, aside / "accuracy" / ACCURACY_LOG)
        for name, text in verdicts["accuracy"].files.items():
            (aside / "accuracy" / name).write_text(text, encoding="utf-8")
    replace_folder(aside, place)
    return place
