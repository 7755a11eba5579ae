"""Runs MLPerf's submission checker and says what each of its complaints means.

The checker is found in a checkout of mlcommons/inference: tools/submission/submission_checker/ as a
package in newer ones, submission_checker.py in older ones, submission-checker.py up to v2.1.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import models
from base.errors import InputError, RunError
from base.files import write_text
from base.text import FOREIGN
from launch.options.sources import data_option
from launch.submission.layout import Layout
from models.packages import installing_extra

PLACES = (
    "tools/submission/submission_checker/main.py",
    "tools/submission/submission_checker.py",
    "tools/submission/submission-checker.py",
)
_LINE = re.compile(
    r"^(?:\[.* (?P<new>ERROR|WARNING)\]|(?P<old>ERROR|WARNING):[\w.]+:)\s*(?P<text>.*)$"
)
"""A line of the checker's log, in either of its formats."""
_WARNED = r"accuracy not met"
"""What fails a result and is only a warning."""
_SHORT = "a run was short: loadrun submit without --fast, --time and --count"
_CURES = (
    (r"accurcy run does not cover all dataset|accuracy run does not cover", (
        "the accuracy run must have answered all {samples:,} {items} of the official data set:"
        " {data} with the whole set")),
    (r"accuracy not met", (
        "the weights or their calibration miss the target: MLPerf's reference weights (loadrun"
        " fetch {task}) and its calibration list")),
    (r"performance_sample_count", "the data set must hold at least {in_memory:,} {items}: {data}"),
    (r"Test duration less(er)? than 600s", _SHORT),
    (r"minimum samples per query", _SHORT),
    (r"Required minimum Query Count", _SHORT),
    (r"_rng_seed is wrong", "the run had another round's seeds: loadrun submit --round makes it"),
    (r"[Ee]arly stopping", "too few queries, or too slow: the run is INVALID; see its summary"),
    (r"[Ll]atency constraint", "Server's latency limit was missed: loadrun find-qps"),
    (r"missing meaningful value|is not truncated|not hash value|file list mismatch|calibration file"
     r"|code_dir|src directory", (
        "the tree was changed after it was written: loadrun submit again")),
    (r"requires a meaningful response|requires a numeric response|field .* is missing",
     "fill that field of the system's description (--system)"),
    (r"invalid status|invalid system type|has submitter|has division|incorrect network mode",
     "correct that field of the system's description (--system)"),
    (r"performance check in .* failed|Compliance test performance", (
        "the audit run was slower or faster than allowed: loadrun audit again, with nothing else"
        " on the machine")),
    (r"[Cc]ompliance test accuracy", "answers differ from the accuracy run's: loadrun audit"),
    (r"contains errors|loadgen errors|Loadgen built with uncommitted", (
        "LoadGen logged an error: see mlperf_log_summary.txt")),
    (r"unknown scenarios|neither required nor optional", (
        "a scenario that this category does not have: loadrun submit without it")),
    (r"Missing TEST|no compliance dir|no measurement_dir|is missing user\.conf|empty directories", (
        "the tree is not whole: loadrun submit again")),
    (r"unfriendly name|greater than 50 MB", "remove that file from the tree"),
    (r"Execution occurred in running check|caused exception in", (
        "the checker could not read this result: loadrun submit writes it again")),
)  # fmt: skip
"""What the checker says (an expression), and what to do; in braces what the benchmark says."""
_FOLLOWS = (
    *("Checks failed for", "^NoResults", "SUMMARY", "^---$", "number of errors", "has issues$"),
    *("accuracy not valid$", "does not have all required scenarios"),
)
"""Lines that only repeat that something failed."""
_ALONE = "does not have all required scenarios"
"""Of these, all but mere headings."""
UNKNOWN = "see the checker's source for what it asks"


@dataclass(frozen=True)
class Complaint:
    """What the checker found, in its first place of `places`, and the cure."""

    text: str
    cure: str
    places: int


@dataclass(frozen=True)
class Check:
    """How the checker ended: `passed`, what it complained of, and all that it printed."""

    passed: bool
    complaints: list[Complaint]
    output: str


def find_checker(checkout: Path, round: str) -> Path:
    """Return the checker's script in a checkout.

    InputError where there is none, it cannot run here, or does not know the round.
    """
    for place in PLACES:
        script = checkout / place
        if script.is_file():
            done = _run(script, ["--help"])
            if "No module named 'yaml'" in done.stdout:
                raise InputError(
                    f"--checker {checkout}: it needs PyYAML ({installing_extra('submit')})"
                )
            if done.returncode != 0:
                raise InputError(f"--checker {checkout}: cannot run: {_last_line(done.stdout)}")
            if round not in done.stdout:
                raise InputError(
                    f"--checker {checkout}: does not know round {round}: check out another version"
                )
            return script
    raise InputError(
        f"--checker {checkout}: no checkout of mlcommons/inference ({PLACES[0]} is not there)"
    )


def check(checker: Path, layout: Layout, log: Path, names: Sequence[str]) -> Check:
    """Run the checker over a tree, what it prints into `log`; `names` are the tree's benchmarks.

    RunError where it ends half-way.
    """
    with tempfile.TemporaryDirectory(prefix="loadrun-checker-") as scratch:
        words = ["--input", str(layout.root), "--csv", str(Path(scratch) / "summary.csv")]
        words += ["--version", layout.round, "--submitter", layout.submitter]
        done = _run(checker, words, Path(scratch))
    try:
        write_text(log, done.stdout)
    except OSError as error:
        raise RunError(f"{log}: {error.strerror}") from None
    if "Traceback (most recent call last)" in done.stdout or "SUMMARY" not in done.stdout:
        last = _last_line(done.stdout)
        raise RunError(f"{checker} did not come to an end: {last} (all it said: {log})")
    return Check(
        done.returncode == 0, complaints(done.stdout, str(layout.root), names), done.stdout
    )


def _run(
    script: Path, words: list[str], directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors=FOREIGN,
        cwd=directory,
        # It is no program of ours: our packages do not come before its own.
        env={**os.environ, "PYTHONUTF8": "1"},
        check=False,
    )


def _facts(text: str, names: Sequence[str]) -> dict[str, object]:
    """What cures say of the benchmark that a complaint is about, else of the first one."""
    name = next((name for name in names if f"/{name}/" in text), names[0])
    task, benchmark = models.get(name), models.benchmark(name)
    return {
        "task": task.name,
        "samples": benchmark.samples,
        "in_memory": benchmark.in_memory(benchmark.samples),
        "items": task.items,
        "data": data_option(task).partition(" ")[0],
    }


def _last_line(output: str) -> str:
    return (output.strip().splitlines() or ["it printed nothing"])[-1]


def complaints(
    output: str, root: str = "", names: Sequence[str] = ("resnet50",)
) -> list[Complaint]:
    """Return what the checker complained of, one for each cure, without what only repeats it.

    `root`, the tree's directory, is left out of quotations. `names` are the benchmarks that it may
    have complained of: cures are for the one whose directory a complaint names.
    """
    found: dict[str, list[str]] = {}
    following: list[str] = []
    for line in output.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        text = match["text"].strip()
        text = text.replace(f"{root}/", "") if root else text
        if "WARNING" in (match["new"], match["old"]) and not re.search(_WARNED, text):
            continue
        if any(re.search(word, text) for word in _FOLLOWS):
            following.append(text)
        elif text:
            cure = next((cure for word, cure in _CURES if re.search(word, text)), UNKNOWN)
            if cure != UNKNOWN:
                cure = cure.format(**_facts(text, names))
            # Unknown complaints are listed each by itself.
            found.setdefault(cure if cure != UNKNOWN else text, []).append(text)
    if not found:
        # Alone they are what the checker has to say.
        missing = [text for text in following if re.search(_ALONE, text)]
        found = {text: [text] for text in missing}
    return [
        Complaint(texts[0], UNKNOWN if cure == texts[0] else cure, len(set(texts)))
        for cure, texts in found.items()
    ]
