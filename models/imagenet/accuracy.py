"""Top-1 accuracy from LoadGen's accuracy log, as the reference's accuracy-imagenet.py."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from base.errors import InputError, quoted

DTYPES = {"float32": np.float32, "int32": np.int32, "int64": np.int64}


@dataclass(frozen=True)
class Accuracy:
    """Samples answered correctly among all that were answered."""

    good: int
    total: int

    @property
    def value(self) -> float:
        """The fraction of correct answers, 0..1."""
        return self.good / self.total

    def __str__(self) -> str:
        return f"accuracy={100.0 * self.value:.3f}%, good={self.good}, total={self.total}"


def accuracy(log: Path, labels: Sequence[int], dtype: str = "int32") -> Accuracy:
    """Return the accuracy of mlperf_log_accuracy.json against the labels by sample index.

    Each sample counts once, with its first answer. Raises InputError that names the log and what
    is wrong in it.
    """
    if dtype not in DTYPES:
        raise InputError(f"unknown response type '{dtype}' (known: {', '.join(DTYPES)})")
    return count(log, read_answers(log, dtype), labels)


def count(log: Path, answers: dict[int, int], labels: Sequence[int]) -> Accuracy:
    """Return the accuracy of answers by sample index, which were read from `log`."""
    strangers = [index for index in answers if not 0 <= index < len(labels)]
    if strangers:
        raise InputError(
            f"{log}: sample {quoted(strangers[0])} has no label ({len(labels)} labels); "
            "the log and the label file do not belong together"
        )
    return accuracy_of(answers, labels)


def accuracy_of(answers: Mapping[int, int], labels: Sequence[int]) -> Accuracy:
    """Return the accuracy of classes by sample index, each of which has a label."""
    return Accuracy(sum(labels[i] == found for i, found in answers.items()), len(answers))


@dataclass(frozen=True)
class ClassResult:
    """The samples of one class: how many, how many right, and what the others were taken for."""

    label: int
    good: int
    total: int
    confusions: list[tuple[int, int]]
    """Wrong answers with their number, the most frequent first."""


def by_class(answers: dict[int, int], labels: Sequence[int]) -> list[ClassResult]:
    """Return a result for each class that was answered, by class."""
    found: dict[int, Counter[int]] = defaultdict(Counter)
    for index, answer in answers.items():
        found[labels[index]][answer] += 1
    return [
        ClassResult(
            label,
            seen[label],
            seen.total(),
            [(answer, times) for answer, times in seen.most_common() if answer != label],
        )
        for label, seen in sorted(found.items())
    ]


def read_answers(log: Path, dtype: str = "int32") -> dict[int, int]:
    """Return the class that the log holds for each sample index; the first answer counts.

    Raises InputError that names the log and what is wrong in it.
    """
    number = np.dtype(DTYPES[dtype])
    answers: dict[int, int] = {}
    for index, data in read_log(log):
        if index in answers:
            continue
        if len(data) < number.itemsize or len(data) % number.itemsize:
            fits = [name for name, kind in DTYPES.items() if np.dtype(kind).itemsize == len(data)]
            raise InputError(
                f"{log}: the answer to sample {quoted(index)} has {len(data)} bytes, "
                f"which is not {dtype}" + (f" (--dtype {' or '.join(fits)}?)" if fits else "")
            )
        answer = np.frombuffer(data, number, count=1)[0]
        if not np.isfinite(answer):
            raise InputError(f"{log}: the answer to sample {index} is {answer}, which is no class")
        answers[index] = int(answer)
    return answers


def read_log(log: Path) -> list[tuple[int, bytes]]:
    """Return sample index and answer of every entry of a log. Raises InputError."""
    try:
        entries = json.loads(log.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{log}: no such accuracy log") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{log}: not an accuracy log of LoadGen ({error})") from None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{log}: holds no answers (was the mode AccuracyOnly?)")
    answers = []
    for entry in entries:
        try:
            answers.append((int(entry["qsl_idx"]), bytes.fromhex(entry["data"])))
        except (TypeError, KeyError, ValueError, OverflowError):
            raise InputError(f"{log}: not an entry of an accuracy log: {quoted(entry)}") from None
    return answers
