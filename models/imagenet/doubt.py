"""Whether an accuracy means anything, and what the answers look like where it does not."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from base.errors import InputError
from models.imagenet.accuracy import DTYPES, count, read_answers, read_log
from models.imagenet.labels import CLASSES

POSSIBLE = range(-1, CLASSES + 1)
"""Answers of networks with a background class, before or behind the thousand, are among these."""
HARDLY = 0.05
"""An accuracy that is certainly below this is none of a network of a thousand classes."""
CERTAIN = 1e-3
"""How likely so few right answers may be at most, were the accuracy HARDLY."""
RELATED = 0.2
"""Part of all answers that a relation to the labels must explain, and three of them at least."""
ENOUGH = 10
"""Fewer answers that are all the same, or different from the labels, may be chance."""
PER_LABEL = 3
"""Answers to a label, on average, that can agree with one another."""


def doubts(answers: Mapping[int, int], labels: Sequence[int]) -> list[str]:
    """Return why the accuracy of these answers means nothing; nothing where it does.

    `answers` are by sample index, each of which has a label. What they look like is said of the
    first reason that applies.
    """
    total = len(answers)
    strange = [answer for answer in answers.values() if answer not in POSSIBLE]
    if strange:
        return [f"{len(strange)} of {total} answers are no classes, the first of them {strange[0]}"]
    good = sum(labels[i] == answer for i, answer in answers.items())
    given = {labels[i] for i in answers}
    first = next(iter(answers.values()))
    if total >= ENOUGH and len(given) > 1 and all(a == first for a in answers.values()):
        return [f"all {total} answers are {first}, whatever the label"]
    fitting, relation = _best_relation(answers, labels)
    if fitting >= max(3, RELATED * total) and fitting > 2 * good:
        return [f"{fitting} of {total} answers fit {relation}, and {good} the label"]
    if not _certainly_below(HARDLY, good, total):
        return []
    agreeing = _agreeing(answers, labels)
    if agreeing > 0.5:
        return [
            f"{100 * agreeing:.0f}% of the answers to images of one label agree with one another,"
            f" and {100 * good / total:.1f}% with the label: the labels are of another list of"
            " classes"
        ]
    return [
        f"{good} of {total} right is hardly more than guessing gives: images, labels and weights do"
        " not belong together, or the labels are in another order than the samples"
    ]


def log_doubts(log: Path, dtype: str, labels: Sequence[int]) -> list[str]:
    """Return what else the log shows whose accuracy means nothing as answers of `dtype`."""
    hints = []
    entries = read_log(log)
    size = np.dtype(DTYPES[dtype]).itemsize
    numbers = {len(data) // size for _, data in entries}
    if min(numbers) >= CLASSES:
        hints.append(f"each answer holds {min(numbers)} numbers: outputs, where a class belongs")
    for other in DTYPES:
        if other == dtype or any(
            len(data) != np.dtype(DTYPES[other]).itemsize for _, data in entries
        ):
            continue
        try:
            answers = read_answers(log, other)
        except InputError:
            continue
        if not doubts(answers, labels):
            hints.append(f"as {other} they give {count(log, answers, labels)}: --dtype {other}?")
    return hints


def _best_relation(answers: Mapping[int, int], labels: Sequence[int]) -> tuple[int, str]:
    """Return how many answers fit what is most like the labels, and what that is."""
    shifts = Counter(answer - labels[i] for i, answer in answers.items())
    shifts.pop(0, None)
    found = []
    if shifts:
        shift, times = shifts.most_common(1)[0]
        found.append((times, f"label {'+' if shift > 0 else '-'} {abs(shift)}"))
    as_text = sorted(range(CLASSES), key=str)
    place = {label: position for position, label in enumerate(as_text)}
    found += [
        (
            sum(as_text[labels[i]] == answer for i, answer in answers.items()),
            "labels that are numbers sorted as text (0, 1, 10, 100, ...)",
        ),
        (
            sum(place[labels[i]] == answer for i, answer in answers.items()),
            "the place of the label among numbers sorted as text (0, 1, 10, 100, ...)",
        ),
    ]
    for step, where in ((1, "after"), (-1, "before")):
        fitting = sum(
            0 <= i + step < len(labels) and labels[i + step] == answer
            for i, answer in answers.items()
        )
        found.append((fitting, f"the label of the sample {where} theirs"))
    return max(found)


def _agreeing(answers: Mapping[int, int], labels: Sequence[int]) -> float:
    """Return which part of the answers is the most frequent one to its label; 0 for too few.

    Each label must have an answer of its own, or one answer to all would be agreement.
    """
    by_label: dict[int, Counter[int]] = defaultdict(Counter)
    for i, answer in answers.items():
        by_label[labels[i]][answer] += 1
    if len(answers) < PER_LABEL * len(by_label):
        return 0.0
    most = [found.most_common(1)[0] for found in by_label.values()]
    if 2 * len({answer for answer, _ in most}) < len(by_label):
        return 0.0
    return sum(times for _, times in most) / len(answers)


def _certainly_below(rate: float, good: int, total: int) -> bool:
    """Whether so few of `total` are right that an accuracy of `rate` is out of the question."""
    if good >= rate * total:
        return False
    # The binomial distribution, by logarithms: its terms are too small for 50,000 answers.
    terms = (
        math.lgamma(total + 1)
        - math.lgamma(k + 1)
        - math.lgamma(total - k + 1)
        + k * math.log(rate)
        + (total - k) * math.log(1 - rate)
        for k in range(good + 1)
    )
    return math.fsum(math.exp(term) for term in terms) < CERTAIN
