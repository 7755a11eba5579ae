"""SQuAD's two measures of an answer: exact match, and the F1 of its words."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from models.squad.articles import Question

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Quality:
    """Percentages over `questions` questions."""

    exact_match: float
    f1: float
    questions: int

    @property
    def line(self) -> str:
        """As MLPerf's accuracy-squad.py prints it."""
        return json.dumps({"exact_match": self.exact_match, "f1": self.f1})


def normal_words(text: str) -> list[str]:
    """The words of an answer without case, punctuation and articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def f1(given: list[str], truth: list[str]) -> float:
    """Harmonic mean of precision and recall of the words, 0 to 1."""
    common = sum((Counter(given) & Counter(truth)).values())
    if not common:
        return 0.0
    precision, recall = common / len(given), common / len(truth)
    return 2 * precision * recall / (precision + recall)


def judge(answers: Mapping[str, str], questions: Iterable[Question]) -> Quality:
    """Judge answers by question id, each by the annotator whose answer suits it best.

    A question without an answer counts as wrong.
    """
    exact = total = count = 0.0
    for question in questions:
        count += 1
        if question.id not in answers:
            continue
        given = normal_words(answers[question.id])
        truths = [normal_words(text) for text in question.answers]
        exact += given in truths
        total += max(f1(given, truth) for truth in truths)
    if not count:
        return Quality(0.0, 0.0, 0)
    return Quality(100.0 * exact / count, 100.0 * total / count, int(count))
