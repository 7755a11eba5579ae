"""From logits to answers, and what answers are worth."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.squad.answers import NONE, answer, best_span, narrow
from models.squad.articles import Question, read_articles
from models.squad.score import f1, judge, normal_words
from models.squad.vocabulary import Vocabulary, read_vocabulary
from models.squad.windows import Window

pytest.importorskip("tokenizers", reason="tokenizers is not installed (the extra 'bert')")


@pytest.fixture
def vocabulary(tmp_path: Path) -> Vocabulary:
    path = tmp_path / "vocab.txt"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "steve", "smith", "'", "s", "##on", "who", "-"]
    path.write_text("\n".join(pieces))
    return read_vocabulary(path)


def window(tokens: int = 12, second: int = 4) -> Window:
    inside = tokens - 1 - second
    return Window(
        0,
        np.arange(tokens, dtype=np.int32),
        second,
        np.arange(inside, dtype=np.int32),
        np.ones(inside, bool),
    )


def logits(tokens: int, *peaks: tuple[int, int, float]) -> NDArray[np.float32]:
    values = np.zeros((tokens, 2), np.float32)
    for token, which, value in peaks:
        values[token, which] = value
    return values


def test_the_best_span_lies_in_the_paragraph() -> None:
    given = logits(12, (1, 0, 9.0), (5, 0, 3.0), (11, 1, 9.0), (7, 1, 2.0))
    assert best_span(window(), given) == (5.0, 5, 7)


def test_a_span_ends_behind_its_start_and_is_short() -> None:
    assert best_span(window(), logits(12, (9, 0, 3.0), (5, 1, 9.0))) == (9.0, 4, 5)
    long = window(60)
    span = best_span(long, logits(60, (5, 0, 3.0), (35, 1, 2.0)))
    assert span is not None and span[0] == 3.0 and span[2] - span[1] < 30
    assert best_span(long, logits(60, (5, 0, 3.0), (34, 1, 2.0))) == (5.0, 5, 34)


def test_a_start_without_most_context_does_not_count() -> None:
    one = window()
    one.counts[1] = False
    assert best_span(one, logits(12, (5, 0, 9.0), (6, 0, 2.0), (7, 1, 3.0))) == (5.0, 6, 7)
    one.counts[:] = False
    assert best_span(one, logits(12)) is None


def test_answers_are_cut_from_words_as_they_are_written(vocabulary: Vocabulary) -> None:
    assert narrow("steve smith", "Steve Smith's", vocabulary) == "Steve Smith"
    assert narrow("smithson", "(Smithson)", vocabulary) == "Smithson"
    assert narrow("steve", "Stéve-Smith", vocabulary) == "Stéve"
    # What cannot be found, or matched one by one, is answered whole.
    assert narrow("[UNK]", "Zoë's", vocabulary) == "Zoë's"
    assert narrow("", "Steve", vocabulary) == "Steve"


def test_the_best_window_answers(vocabulary: Vocabulary) -> None:
    question = Question("q", "who", ("Smith's", "Steve"), ("Steve",))
    ids = np.array([2, 9, 3, 5, 6, 7, 4, 3], np.int32)
    one = Window(0, ids, 3, np.array([0, 0, 0, 1], np.int32), np.ones(4, bool))
    low = logits(8, (6, 0, 1.0), (6, 1, 1.0))
    high = logits(8, (3, 0, 4.0), (3, 1, 4.0))
    assert answer(question, [(one, low)], vocabulary) == "Steve"
    assert answer(question, [(one, low), (one, high)], vocabulary) == "Smith"
    one.counts[:] = False
    assert answer(question, [(one, low)], vocabulary) == NONE


def test_words_are_compared_without_case_punctuation_and_articles() -> None:
    assert normal_words("The  U.S.A. and an 'Apple'") == ["usa", "and", "apple"]
    assert f1(["b", "c"], ["b", "d", "b"]) == pytest.approx(2 * 0.5 * (1 / 3) / (0.5 + 1 / 3))
    assert f1(["x"], ["y"]) == 0.0
    assert f1([], []) == 0.0


def test_the_annotator_that_suits_best_counts() -> None:
    questions = [
        Question("1", "", (), ("the cat", "a dog barks")),
        Question("2", "", (), ("one",)),
    ]
    quality = judge({"1": "Dog!"}, questions)
    assert quality.exact_match == 0.0
    assert quality.f1 == pytest.approx(100 * (2 / 3) / 2)
    assert json.loads(judge({"1": "Cat.", "2": "one"}, questions).line) == {
        "exact_match": 100.0,
        "f1": 100.0,
    }


@pytest.mark.parametrize(
    ("name", "exact", "mean"), [("train36", 86.0642, 92.0374), ("dev6", 87.3571, 92.9997)]
)
def test_published_predictions_score_what_was_published(
    shared_data: Path, name: str, exact: float, mean: float
) -> None:
    folder = shared_data / "squad"
    predictions = (folder / "bert_ensemble_predictions.json.gz").read_bytes()
    answers = json.loads(gzip.decompress(predictions))
    quality = judge(answers, read_articles(folder / f"{name}.json.gz").questions)
    assert quality.exact_match == pytest.approx(exact, abs=5e-5)
    assert quality.f1 == pytest.approx(mean, abs=5e-5)
