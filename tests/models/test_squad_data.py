"""SQuAD files, word pieces and windows, against what the reference makes of them."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from base.errors import InputError
from models.squad.articles import Question, read_articles
from models.squad.dataset import (
    QuestionData,
    calibration_windows,
    cost_of,
    logits_of,
    vocabulary_of,
)
from models.squad.vocabulary import Vocabulary, read_vocabulary
from models.squad.windows import make_windows
from models.task import Sources

pytest.importorskip("tokenizers", reason="tokenizers is not installed (the extra 'bert')")

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghij",
    "##a",
    "##b",
    "who",
    ".",
    "?",
]
Entry = dict[str, Any]


def entry(**changes: Any) -> Entry:
    """A question of a file, as SQuAD has them."""
    return {"id": "q1", "question": "who ?", "answers": [{"text": "a b"}], **changes}


def squad(*entries: Entry, context: str = "a b c.", version: str = "1.1") -> Entry:
    paragraph = {"context": context, "qas": list(entries)}
    return {"version": version, "data": [{"title": "T", "paragraphs": [paragraph]}]}


@pytest.fixture
def vocabulary(tmp_path: Path) -> Vocabulary:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n")
    return read_vocabulary(path)


def question(words: int, text: str = "who ?") -> Question:
    return Question("q1", text, ("a",) * words, ("a",))


def refused(path: Path, read: Callable[[Path], object]) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("held", "part"),
    [
        (squad(entry(), version="v2.0"), "SQuAD v2.0"),
        (squad(entry(is_impossible=False)), "is_impossible"),
        (squad(entry(answers=[])), "question 'q1' has no answers"),
        ({**squad(entry()), "data": 1}, "no 'data' that is a list"),
        (squad({"id": "q1", "question": "who"}), "no 'answers' that is a list"),
        (squad(entry(question=" ")), "the question is empty"),
        (squad(entry(), context=" \n"), "the context is empty"),
        (squad(entry(), entry()), "stands there twice"),
        (squad(), "holds no question"),
        ([], "no 'data'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_line(
    tmp_path: Path, held: object, part: str
) -> None:
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(held))
    assert part in refused(path, read_articles)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b'{"data": "\xe9"}', "not UTF-8 at byte 10"),
        (b"{", "not JSON"),
        (gzip.compress(b"{}" * 900)[:-9], "damaged"),
    ],
    ids=["not UTF-8", "not JSON", "damaged"],
)
def test_bytes_that_are_no_json(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "dev.json"
    path.write_bytes(content)
    assert part in refused(path, read_articles)
    assert "no such file" in refused(tmp_path / "other.json", read_articles)


def test_words_are_split_at_the_reference_s_white_space_alone(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    text = "a\tb\u202fc\u00a0d \r\n e"
    path.write_bytes(gzip.compress(json.dumps(squad(entry(), context=text)).encode()))
    assert read_articles(path).questions[0].words == ("a", "b", "c\u00a0d", "e")


@pytest.mark.parametrize(
    ("pieces", "part"),
    [
        ("a\nb\n", "no piece [PAD]"),
        ("\n".join([*PIECES, "Berlin"]), "cased vocabulary"),
    ],
)
def test_a_vocabulary_of_another_model(tmp_path: Path, pieces: str, part: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text(pieces)
    assert part in refused(path, read_vocabulary)
    assert "no such vocabulary" in refused(tmp_path / "none.txt", read_vocabulary)


def test_a_vocabulary_is_looked_for_beside_weights_and_data(tmp_path: Path) -> None:
    beside = Sources(data=tmp_path / "dev.json", weights=tmp_path / "w" / "model.bin")
    with pytest.raises(InputError, match=r"no vocabulary.*--vocab FILE"):
        vocabulary_of(beside)
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    assert vocabulary_of(beside).size == len(PIECES)


def test_a_paragraph_that_fits_is_one_window(vocabulary: Vocabulary) -> None:
    (window,) = make_windows([Question("q", "who ?", ("a.", "bb"), ("a",))], vocabulary)
    pieces = [PIECES[i] for i in window.ids]
    assert pieces == ["[CLS]", "who", "?", "[SEP]", "a", ".", "b", "##b", "[SEP]"]
    assert window.second == 4
    assert window.words.tolist() == [0, 0, 1, 1]
    assert window.counts.all()


def test_long_paragraphs_have_windows_128_pieces_apart(vocabulary: Vocabulary) -> None:
    windows = make_windows([question(600)], vocabulary)
    room = 384 - 2 - 3
    assert [len(w.ids) for w in windows] == [384, 384, 600 - 256 + 5]
    assert [int(w.words[0]) for w in windows] == [0, 128, 256]
    # Every piece counts in one window: the one with most context on its poorer side.
    owners = np.zeros(600, int)
    for window in windows:
        owners[window.words[window.counts]] += 1
    assert (owners == 1).all()
    assert windows[0].counts.sum() == (room - 1 + 128) // 2 + 1


def test_a_question_that_is_too_long_is_refused(vocabulary: Vocabulary, tmp_path: Path) -> None:
    make_windows([question(3, "a " * 64)], vocabulary)
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(squad(entry(question="a " * 65))))
    message = refused(path, lambda path: QuestionData(path, vocabulary))
    assert "question 'q1' has 65 word pieces, at most 64" in message


def test_samples_are_tokens_without_padding(vocabulary: Vocabulary, tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(squad(entry(), entry(id="q2", question="a ?"))))
    data = QuestionData(path, vocabulary)
    assert len(data) == 2
    sample = data.read(1)
    assert sample["input_ids"].dtype == np.int32
    assert sample["input_ids"].tolist() == data.windows[1].ids.tolist()
    assert sample["second"].shape == () and int(sample["second"]) == 4
    assert data.cost(sample) == cost_of(len(sample["input_ids"]))
    assert cost_of(384) / cost_of(96) > 4
    path.write_text(json.dumps(squad(entry(), entry(id="q3", question="a ?"))))
    assert QuestionData(path, vocabulary).sha256 != data.sha256
    assert len(pickle.loads(pickle.dumps(data))) == 2


def test_calibration_lists(vocabulary: Vocabulary, tmp_path: Path) -> None:
    path, listing = tmp_path / "dev.json", tmp_path / "list.txt"
    path.write_text(json.dumps(squad(entry(), entry(id="56beb6f23aeaaa14008c92a1"))))
    data = QuestionData(path, vocabulary)
    assert calibration_windows(data, None) == [0, 1]
    listing.write_text("56beb6f23aeaaa14008c92a1\n\n")
    assert calibration_windows(data, listing) == [1]
    for text, part in (
        ("1\n0\n", "10,833 windows, and dev.json has 2"),
        ("q7", "has no question 'q7'"),
        ("", "an empty calibration list"),
    ):
        listing.write_text(text)
        assert part in refused(listing, lambda path: calibration_windows(data, path))


def test_responses_that_are_no_logits() -> None:
    assert logits_of(bytes(24)).shape == (3, 2)
    for size in (4, 8 * 385):
        with pytest.raises(InputError, match=f"a response of {size} bytes"):
            logits_of(bytes(size))


def test_windows_of_squad_are_as_many_as_the_reference_s(shared_data: Path) -> None:
    folder = shared_data / "squad"
    vocabulary = read_vocabulary(folder / "vocab.txt")
    data = QuestionData(folder / "dev6.json.gz", vocabulary)
    assert len(data.questions) == 1487
    assert len(data) == 1497
    assert max(window.second for window in data.windows) - 2 <= 64
