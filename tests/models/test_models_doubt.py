"""Accuracies that mean nothing are told from bad ones and from good ones."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.imagenet.accuracy import read_answers
from models.imagenet.doubt import doubts, log_doubts
from models.imagenet.labels import CLASSES

COUNT = 650


def labels_of(count: int = COUNT, classes: int = CLASSES) -> list[int]:
    return random.Random(1).choices(range(classes), k=count)


def answers_of(truth: list[int], right: float = 0.8) -> dict[int, int]:
    """Answers of a network that is right so often, and else takes a class for another."""
    draw = random.Random(2)
    return {
        i: label if draw.random() < right else draw.randrange(CLASSES)
        for i, label in enumerate(truth)
    }


@pytest.mark.parametrize("right", [0.99, 0.76, 0.4, 0.15])
@pytest.mark.parametrize("count", [3, 50, COUNT, 5_000])
@pytest.mark.parametrize("classes", [CLASSES, 32, 2])
def test_bad_networks_are_not_doubted(right: float, count: int, classes: int) -> None:
    truth = labels_of(count, classes)
    assert doubts(answers_of(truth, right), truth) == []


def test_few_answers_are_not_doubted() -> None:
    assert doubts({0: 5}, [7]) == []
    assert doubts({0: 5, 1: 6, 2: 9}, [7, 9, 1]) == []
    assert doubts(dict.fromkeys(range(9), 5), list(range(9))) == []
    assert doubts(dict.fromkeys(range(30), 5), [5] * 30) == []


AS_TEXT = sorted(range(CLASSES), key=str)
PLACE = [AS_TEXT.index(label) for label in range(CLASSES)]
OTHER_ORDER = random.Random(3).sample(range(CLASSES), CLASSES)


@pytest.mark.parametrize("count", [20, COUNT, 20_000])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda truth: [max(label - 1, 0) for label in truth], r"fit label \+ 1, and"),
        (lambda truth: [min(label + 1, 999) for label in truth], r"fit label - 1, and"),
        (lambda truth: [(label + 17) % 1000 for label in truth], r"fit label - 17, and"),
        (lambda truth: [AS_TEXT[label] for label in truth], "fit the place of the label among"),
        (lambda truth: [PLACE[label] for label in truth], "fit labels that are numbers sorted as"),
        (lambda truth: [*truth[1:], 0], "fit the label of the sample before theirs"),
        (lambda truth: [0, *truth[:-1]], "fit the label of the sample after theirs"),
    ],
)
def test_labels_that_are_another_s_say_whose(
    count: int, wrong: Callable[[list[int]], list[int]], said: str
) -> None:
    truth = labels_of(count)
    (why,) = doubts(answers_of(truth), wrong(truth))
    assert re.search(said, why), why


def test_labels_of_another_list_of_classes() -> None:
    truth = labels_of(5_000)
    (why,) = doubts(answers_of(truth), [OTHER_ORDER[label] for label in truth])
    assert "of the answers to images of one label agree with one another" in why
    assert "another list of classes" in why


def test_guesses_and_labels_in_another_order() -> None:
    truth = labels_of()
    shuffled = random.Random(4).sample(truth, len(truth))
    for answers in (answers_of(truth, 0.0), answers_of(shuffled)):
        (why,) = doubts(answers, truth)
        assert f"of {COUNT} right is hardly more than guessing" in why


def test_one_answer_to_everything() -> None:
    (why,) = doubts(dict.fromkeys(range(COUNT), -1), labels_of())
    assert why == f"all {COUNT} answers are -1, whatever the label"


def test_answers_that_are_no_classes() -> None:
    truth = labels_of()
    answers = {**answers_of(truth), 3: 1139802112}
    (why,) = doubts(answers, truth)
    assert why == f"1 of {COUNT} answers are no classes, the first of them 1139802112"


def write(path: Path, answers: dict[int, int], dtype: str) -> Path:
    entries = [
        {"qsl_idx": i, "data": np.array([answer], dtype).tobytes().hex()}
        for i, answer in answers.items()
    ]
    path.write_text(json.dumps(entries))
    return path


@pytest.mark.parametrize(
    ("written", "read"),
    [("float32", "int32"), ("int32", "float32"), ("int64", "float32")],
)
def test_a_log_read_as_another_type_names_its_own(tmp_path: Path, written: str, read: str) -> None:
    truth = labels_of()
    log = write(tmp_path / "log.json", answers_of(truth), written)
    assert doubts(read_answers(log, read), truth)
    (hint,) = log_doubts(log, read, truth)
    assert hint.startswith(f"as {written} they give accuracy=")
    assert hint.endswith(f"--dtype {written}?")


def test_outputs_where_a_class_belongs(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(size=(20, 1000)).astype(np.float32)
    log = tmp_path / "log.json"
    entries = [{"qsl_idx": i, "data": row.tobytes().hex()} for i, row in enumerate(logits)]
    log.write_text(json.dumps(entries))
    assert log_doubts(log, "float32", labels_of(20)) == [
        "each answer holds 1000 numbers: outputs, where a class belongs"
    ]
