"""Runs MLPerf's submission checker and says what each of its complaints means.

The checker is found in a checkout of mlcommons/inference: tools/submission/submission_checker/ as a
package in newer ones, submission_checker.py in older ones.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from launch.environment import base_environment
from launch.errors import InputError, RunError
from launch.submission.layout import Layout

PLACES = ("tools/submission/submission_checker/main.py", "tools/submission/submission_checker.py")
_LINE = re.compile(
    r"^(?:\[.* (?P<new>ERROR|WARNING)\]|(?P<old>ERROR|WARNING):[\w.]+:)\s*(?P<text>.*)$"
)
"""A line of the checker's log, in either of its formats."""
_WARNED = r"accuracy not met"
"""What fails a result and is only a warning."""
_CURES = (
    (r"accurcy run does not cover all dataset|accuracy run does not cover", (
        "the accuracy run must have answered all 50,000 images of ImageNet's validation set:"
        " --images with the whole set")),
    (r"accuracy not met", (
        "the weights or their calibration miss the target: MLPerf's reference weights (loadrun"
        " fetch resnet50) and its calibration list")),
    (r"performance_sample_count", "the data set must hold at least 1,024 images: --images"),
    (r"Test duration less than 600s", "a run was short: loadrun submit without --fast and --time"),
    (r"minimum samples per query", "a run was short: loadrun submit without --fast and --count"),
    (r"Required minimum Query Count", "a run was short: loadrun submit without --fast, --count"),
    (r"_rng_seed is wrong", "the run had another round's seeds: loadrun submit --round makes it"),
    (r"[Ee]arly stopping", "too few queries, or too slow: the run is INVALID; see its summary"),
    (r"[Ll]atency constraint", "Server's latency limit was missed: loadrun find-qps"),
    (r"requires a meaningful response|requires a numeric response|field .* is missing",
     "fill that field of the system's description (--system)"),
    (r"invalid status|invalid system type|has submitter|has division|incorrect network mode",
     "correct that field of the system's description (--system)"),
    (r"performance check in .* failed|Compliance test performance", (
        "the audit run was slower or faster than allowed: loadrun audit again, with nothing else"
        " on the machine")),
    (r"[Cc]ompliance test accuracy", "answers differ from the accuracy run's: loadrun audit"),
    (r"is not truncated|not hash value|file list mismatch|calibration file|code_dir|src directory",
     "the tree was changed after it was written: loadrun submit again"),
    (r"contains errors|loadgen errors", "LoadGen logged an error: see mlperf_log_summary.txt"),
)  # fmt: skip
"""What the checker says (an expression), and what to do."""
_FOLLOWS = (
    *("Checks failed for", "^NoResults", "SUMMARY", "^---$", "number of errors", "has issues$"),
    *("accuracy not valid$", "does not have all required scenarios"),
)
"""Lines that only repeat that something failed."""
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


def find_checker(checkout: Path) -> Path:
    """Return the checker's script in a checkout; InputError where there is none."""
    for place in PLACES:
        if (checkout / place).is_file():
            return checkout / place
    raise InputError(
        f"--checker {checkout}: no checkout of mlcommons/inference ({PLACES[0]} is not there)"
    )


def check(checker: Path, layout: Layout) -> Check:
    """Run the checker over a tree. RunError where it cannot run at all."""
    with tempfile.TemporaryDirectory(prefix="loadrun-checker-") as scratch:
        command = [sys.executable, str(checker), "--input", str(layout.root)]
        command += ["--version", layout.round, "--submitter", layout.submitter]
        command += ["--csv", str(Path(scratch) / "summary.csv")]
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=scratch,
            env=base_environment(),
            check=False,
        )
    if "Traceback (most recent call last)" in done.stdout or "SUMMARY" not in done.stdout:
        last = done.stdout.strip().splitlines()[-1:] or ["it printed nothing"]
        raise RunError(f"{checker} did not come to an end: {last[0]}")
    return Check(done.returncode == 0, complaints(done.stdout, str(layout.root)), done.stdout)


def complaints(output: str, root: str = "") -> list[Complaint]:
    """Return what the checker complained of, one for each cure, without what only repeats it.

    `root`, the tree's directory, is left out of what is quoted.
    """
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        text = match["text"].replace(f"{root}/", "").strip()
        if "WARNING" in (match["new"], match["old"]) and not re.search(_WARNED, text):
            continue
        if text and not any(re.search(word, text) for word in _FOLLOWS):
            cure = next((cure for word, cure in _CURES if re.search(word, text)), UNKNOWN)
            # What is not known is told each by itself.
            found.setdefault(cure if cure != UNKNOWN else text, []).append(text)
    return [
        Complaint(texts[0], UNKNOWN if cure == texts[0] else cure, len(set(texts)))
        for cure, texts in found.items()
    ]
