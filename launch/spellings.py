"""Options as other harnesses spell them (NVIDIA's make, CM, the reference), and what they are here.

Those that mean exactly the same are taken as ours; of those that do not, the error says what to
write instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

SAME: Mapping[str, str] = {
    "--dataset-path": "--data",
    "--dlrm-data-path": "--data",
    "--imagenet-path": "--images",
    "--log-dir": "--results",
    "--max-batchsize": "--batch-size",
    "--num-threads": "--cores",
    "--offline-target-qps": "--offline-expected-qps",
    "--output-dir": "--results",
    "--results-dir": "--results",
    "--target-latency": "--max-latency",
    "--target-qps": "--qps",
    "--test-query-count": "--count",
    "--threads": "--cores",
    "--user-conf-path": "--user-conf",
}
"""Ours by theirs: of the same meaning, in the same unit. A command's own option wins."""

_NONE = "nothing: leave it out"
_ENDLESS = "nothing: a test ends when its queries are answered; --count N makes a short one"
_TARGET = "--qps X; of run-all, --server-target-qps and --offline-expected-qps"
_LATENCY = "--max-latency MS, in milliseconds"
_SYSTEM = "a field of the system's description: loadrun doctor --system FILE"
INSTEAD: Mapping[str, str] = {
    "--audit-test": "loadrun audit MODEL --tests NAME",
    "--backend": "--engine NAME, and --precision fp32 for what it computes there",
    "--category": _SYSTEM,
    "--clean": "--rerun of loadrun run-all, or remove the results",
    "--compliance": "loadrun audit MODEL",
    "--data-dir": "--data PATH, or MLPERF_SCRATCH_PATH",
    "--device": _NONE,
    "--division": _SYSTEM,
    "--execution-mode": "--count N (test), --fast (fast), neither (valid)",
    "--force-calibration": "loadrun calibrate MODEL",
    "--gpu-batch-size": "--batch-size N",
    "--hw-name": _SYSTEM,
    "--implementation": _NONE,
    "--input-dtype": _NONE,
    "--input-format": _NONE,
    "--map-path": "--labels FILE",
    "--max-duration": _ENDLESS,
    "--max-query-count": _ENDLESS,
    "--max-test-duration": _ENDLESS,
    "--mlperf-conf-path": "nothing: LoadGen's own mlperf.conf is used",
    "--model": "MODEL, a word without an option",
    "--multistream-target-latency": _LATENCY,
    "--offline-expected-qps": _TARGET,
    "--offline-target-qps": _TARGET,
    "--performance-sample-count": "nothing: the benchmark's is used",
    "--preprocessed-data-dir": "LOADRUN_CACHE, or preprocessed_data below MLPERF_SCRATCH_PATH",
    "--qsl-rng-seed": "--round NAME has its seeds",
    "--run-style": "--count N (test), --fast (fast), neither (valid)",
    "--sample-index-rng-seed": "--round NAME has its seeds",
    "--schedule-rng-seed": "--round NAME has its seeds",
    "--server-target-latency-ns": _LATENCY,
    "--server-target-qps": _TARGET,
    "--single-stream-expected-latency-ns": _LATENCY,
    "--singlestream-target-latency": _LATENCY,
    "--submission-dir": "--out DIR of loadrun submit",
    "--verbose": _NONE,
}
"""What to write for options of theirs that are none of a command's."""


def hyphenated(word: str) -> str:
    """An option as it is declared, where underscores spell it, as other harnesses do."""
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value


def take(parser: argparse.ArgumentParser) -> None:
    """Have a command's parser take the other spellings of its options; its help leaves them out."""
    known = parser._option_string_actions
    for theirs, ours in SAME.items():
        if ours in known:
            known.setdefault(theirs, known[ours])
