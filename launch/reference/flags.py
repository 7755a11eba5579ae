"""What the reference's main.py knows (classification and detection, DLRM), and what it is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from base.errors import InputError
from launch.spellings import hyphenated

MEAN_PAIRS = 270
"""User-item pairs of a mean sample of DLRM."""


@dataclass(frozen=True)
class Flag:
    """A flag of the reference: what it becomes, and what is said where it becomes nothing."""

    names: tuple[str, ...]
    words: Callable[[str, str], Sequence[str]] | None = None
    """Our words for its value, of a task; None where it has none."""
    here: str = ""
    """What it is here, for the table in the documentation."""
    switch: bool = False
    note: str = ""
    """For the user, where it changes nothing."""


def _as(ours: str) -> Callable[[str, str], Sequence[str]]:
    return lambda value, task: [f"{ours}={value}"]


def _scaled(ours: str, factor: float, flag: str) -> Callable[[str, str], Sequence[str]]:
    return lambda value, task: [f"{ours}={number(flag, value) * factor:g}"]


def _batch(value: str, task: str) -> Sequence[str]:
    """Pairs of DLRM, samples of others."""
    size = number("--max-batchsize", value)
    return [f"--batch-size={max(1, round(size / MEAN_PAIRS if _ranks(task) else size))}"]


def _accuracy(value: str, task: str) -> Sequence[str]:
    return ["--mode=AccuracyOnly", *(["--targets-in-log"] if _ranks(task) else [])]


def _seed(value: str, task: str) -> Sequence[str]:
    if value != "123":
        raise InputError(f"--numpy-rand-seed {value}: MLPerf's trace of samples is that of 123")
    return []


def _gpu(value: str, task: str) -> Sequence[str]:
    raise InputError("--use-gpu: loadrun runs on CPUs; leave it out")


def _audit(value: str, task: str) -> Sequence[str]:
    raise InputError(f"--audit_conf {value}: use `loadrun audit`, which judges as well")


def _model(value: str, task: str) -> Sequence[str]:
    """A file in the reference of images, a name in that of DLRM."""
    return [] if _ranks(task) else [f"--weights={value}"]


def _ranks(task: str) -> bool:
    return task.startswith("dlrm")


def number(flag: str, value: str) -> float:
    """A number above 0; InputError that names the flag."""
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not 0 < found < float("inf"):
        raise InputError(f"{flag} {value}: is not a number above 0")
    return found


_NAMED = "MODEL, DATASET and BACKEND say it"
FLAGS: Sequence[Flag] = (
    Flag(("--scenario",), _as("--scenario"), "`--scenario` (here too SingleStream by default)"),
    Flag(("--accuracy",), _accuracy, "`--mode AccuracyOnly`, DLRM `--targets-in-log`", True),
    Flag(
        ("--find-peak-performance",),
        lambda value, task: ["--mode=FindPeakPerformance"],
        "`--mode FindPeakPerformance`",
        True,
    ),
    Flag(
        ("--time",),
        _as("--time"),
        "`--time`, seconds: the minimum; the test ends when its queries are answered",
    ),
    Flag(("--duration",), _scaled("--time", 1e-3, "--duration"), "`--time`, of milliseconds"),
    Flag(("--qps", "--target-qps"), _as("--qps"), "`--qps`"),
    Flag(
        ("--max-latency",),
        _scaled("--max-latency", 1e3, "--max-latency"),
        "`--max-latency`, there in seconds, of `loadrun run` in milliseconds",
    ),
    Flag(
        ("--count", "--count-samples", "--count-queries"),
        _as("--count"),
        "`--count`: queries, of Offline and accuracy samples",
    ),
    Flag(
        ("--max-batchsize",),
        _batch,
        f"`--batch-size`; DLRM counts pairs there, mean samples of {MEAN_PAIRS} here",
    ),
    Flag(("--threads",), _as("--cores"), "`--cores`: processors of all instances together"),
    Flag(("--dataset-path",), _as("--data"), "`--data`"),
    Flag(("--dataset-list",), _as("--labels"), "`--labels`, of detectors `--annotations`"),
    Flag(("--model-path",), _as("--weights"), "`--weights`"),
    Flag(("--model",), _model, f"`--weights`; of DLRM nothing: {_NAMED}", note=_NAMED),
    Flag(("--max-ind-range",), _as("--max-ind-range"), "the same"),
    Flag(("--data-sub-sample-rate",), _as("--data-sub-sample-rate"), "the same"),
    Flag(
        ("--mlperf-bin-loader",),
        lambda value, task: ["--mlperf-bin-loader"],
        "the same",
        True,
    ),
    *(
        Flag((f"--samples-to-aggregate-{way}",), _as(f"--samples-to-aggregate-{way}"), "the same")
        for way in ("fix", "min", "max", "quantile-file", "trace-file")
    ),
    Flag(("--user_conf", "--user-conf"), _as("--user-conf"), "`--user-conf`"),
    Flag(("--output", "--output-dir"), _as("--results"), "`--results`"),
    Flag(("--numpy-rand-seed",), _seed, "always 123"),
    Flag(("--use-gpu",), _gpu, "refused: CPUs only", True),
    Flag(("--audit_conf",), _audit, "refused: `loadrun audit`"),
    *(
        Flag((name,), None, "nothing: " + note, note=note)
        for name, note in (
            ("--profile", _NAMED),
            ("--backend", _NAMED),
            ("--model-name", _NAMED),
            ("--dataset", _NAMED),
            ("--device", "DEVICE says it"),
            ("--inputs", "a network's inputs are known"),
            ("--outputs", "a network's outputs are known"),
            ("--data-format", "the engine chooses it"),
            ("--test-num-workers", "samples are prepared by all processors"),
            ("--samples-per-query", "LoadGen's, 8"),
            ("--samples-per-query-multistream", "LoadGen's, 8"),
            ("--samples-per-query-offline", "the benchmark's performance_sample_count is used"),
            ("--performance-sample-count", "the benchmark's is used"),
            ("--config", "LoadGen's own mlperf.conf is used"),
            ("--mlperf_conf", "LoadGen's own mlperf.conf is used"),
            ("--cache", "what was prepared is kept (LOADRUN_CACHE)"),
            ("--cache_dir", "what was prepared is kept (LOADRUN_CACHE)"),
            ("--preprocessed_dir", "what was prepared is kept (LOADRUN_CACHE)"),
        )
    ),
    *(
        Flag((name,), None, "nothing: " + note, True, note)
        for name, note in (
            ("--use_preprocessed_dataset", "what was prepared is found by itself"),
            ("--debug", "failures leave their logs"),
        )
    ),
)
BY_NAME: Mapping[str, Flag] = {hyphenated(name): flag for flag in FLAGS for name in flag.names}
"""By name, with hyphens where the reference has underscores."""
