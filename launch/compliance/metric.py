"""TEST01's part III: where answers differ, the metric over those that were logged decides.

Floats of a low precision depend on what else is in a batch. Then the accuracy run's answers to the
samples that the audit run logged (the baseline) and the audit run's own are scored, and the two
values may differ by 1%, or 0.1% for a benchmark of 99.9%.

Source: compliance/TEST01/README.md of mlcommons/inference, and how its submission checker reads
baseline_accuracy.txt and compliance_accuracy.txt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from base.errors import InputError
from launch.compliance.rules import Verdict
from models.accuracy_log import LoggedAnswers
from models.task import Benchmark, DataSet, Task

BASELINE, AUDITED = "baseline_accuracy.txt", "compliance_accuracy.txt"


class Among(Mapping[int, bytes]):
    """Those of the answers whose samples others answer, too; read when they are asked for."""

    def __init__(self, answers: Mapping[int, bytes], others: Mapping[int, bytes]) -> None:
        self._answers = answers
        self._indices = [index for index in others if index in answers]

    def __getitem__(self, index: int) -> bytes:
        return self._answers[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)


def verify_metric(
    answers: Verdict,
    reference: Path,
    audited: Path,
    task: Task,
    benchmark: Benchmark,
    data: DataSet,
) -> Verdict:
    """Judge by the metric what `answers`, the verdict on the answers themselves, failed.

    `reference` and `audited` are the accuracy logs. Where the metric decides nothing (no truth, or
    a metric that the checker does not know), the verdict stays.
    """
    if not data.scored or benchmark.pattern is None:
        return answers
    try:
        logged = LoggedAnswers(audited)
        known = LoggedAnswers(reference)
        # An accuracy run over part of the data set may lack some.
        baseline, audited_too = Among(known, logged), Among(logged, known)
        if not baseline:
            return answers
        lines = {
            BASELINE: task.score(baseline, data).line,
            AUDITED: task.score(audited_too, data).line,
        }
    except InputError as error:
        return replace(answers, figure=f"{answers.figure}; they cannot be scored: {error}")
    files = {name: f"{line}\n" for name, line in lines.items()}
    apart = difference(files[BASELINE], files[AUDITED], benchmark)
    if apart is None:
        return replace(answers, figure=f"{answers.figure}; their {benchmark.metric} is no number")
    figure = (
        f"{answers.figure}; {benchmark.metric} over {len(baseline):,} {task.items} is {apart:.3f}%"
        f" apart (allowed: {benchmark.drift:g}%)"
    )
    return replace(answers, passed=apart <= benchmark.drift, figure=figure, files=files)


def difference(baseline: str, audited: str, benchmark: Benchmark) -> float | None:
    """How far the metric of two texts is apart, in percent; None where one has none."""
    values = [value_in(text, benchmark) for text in (baseline, audited)]
    if not all(values):
        return None
    assert values[0] is not None and values[1] is not None
    return 100 * abs(1 - values[0] / values[1])


def value_in(text: str, benchmark: Benchmark) -> float | None:
    """The metric as the submission checker finds it in a text; None where it does not."""
    if benchmark.pattern is None:
        return None
    found = (re.match(benchmark.pattern, line) for line in text.splitlines())
    values = [float(match[1]) for match in found if match]
    return values[-1] if values else None


def metric_held(folder: Path, benchmark: Benchmark) -> bool:
    """Whether the texts in a test's folder of accuracy show the metric within what is allowed."""
    try:
        baseline, audited = (
            (folder / name).read_text(encoding="utf-8") for name in (BASELINE, AUDITED)
        )
    except OSError:
        return False
    apart = difference(baseline, audited, benchmark)
    return apart is not None and apart <= benchmark.drift
