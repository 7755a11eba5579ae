from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from base.errors import InputError
from models.accuracy_log import LoggedAnswers

LINES = (
    '{ "seq_id" : 283, "qsl_idx" : 8, "data" : "70030000" }',
    '{ "seq_id" : 4, "qsl_idx" : 0, "data" : "" }',
    '{ "seq_id" : 5, "qsl_idx" : 8, "data" : "FF" }',
    '{ "seq_id" : 6, "qsl_idx" : 11, "data" : "f901", "token_count" : 3 }',
)
EXPECTED = {8: b"\x70\3\0\0", 0: b"", 11: b"\xf9\1"}


@pytest.mark.parametrize("layout", ["LoadGen's", "one line", "indented", "without blanks"])
def test_answers_by_sample_index(tmp_path: Path, layout: str) -> None:
    log = tmp_path / "mlperf_log_accuracy.json"
    text = "[\n" + ",\n".join(LINES) + "\n]\n"
    if layout == "one line":
        text = text.replace("\n", "")
    elif layout == "indented":
        text = json.dumps(json.loads(text), indent=2)
    elif layout == "without blanks":
        text = json.dumps(json.loads(text), separators=(",", ":"))
    log.write_text(text)
    answers = LoggedAnswers(log)
    assert dict(answers) == EXPECTED
    assert len(answers) == 3
    assert 1 not in answers
    with pytest.raises(KeyError):
        answers[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not an accuracy log|holds no answers"),
        ("[\n]\n", "holds no answers"),
        ("[\n" + LINES[0], None),  # what a killed LoadGen leaves
        ("{}", "no list"),
        ('[{"qsl_idx": 1}]', "not an entry of an accuracy log"),
        ('[{"qsl_idx": 1, "data": "abc"}]', "not an entry of an accuracy log"),
        ("[" * 100_000, "not an accuracy log"),
    ],
)
def test_broken_logs_are_one_line(tmp_path: Path, text: str, said: str | None) -> None:
    log = tmp_path / "log.json"
    log.write_text(text)
    if said is None:
        assert list(LoggedAnswers(log)) == [8]
        return
    with pytest.raises(InputError, match=said) as caught:
        LoggedAnswers(log)
    assert str(log) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such accuracy log"):
        LoggedAnswers(tmp_path / "absent")


def test_an_answer_of_other_characters_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    log.write_text("[\n" + LINES[0].replace("70", "7x") + "\n]\n")
    with pytest.raises(InputError, match=r"log\.json: the answer to sample 8 is no hex digits"):
        LoggedAnswers(log)[8]


def test_a_large_log_is_not_kept_in_memory(tmp_path: Path) -> None:
    log, size = tmp_path / "log.json", 4 << 20
    with log.open("w") as file:
        file.write("[\n")
        for i in range(8):
            file.write(f'{{ "seq_id" : {i}, "qsl_idx" : {i}, "data" : "{f"{i:02X}" * size}" }},\n')
        file.write("]\n")
    tracemalloc.start()
    answers = LoggedAnswers(log)
    for i in range(8):
        assert answers[i] == bytes([i]) * size
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * size
