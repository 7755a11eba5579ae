import json
from pathlib import Path

import numpy as np
import pytest

from base.errors import InputError
from models.imagenet.accuracy import Accuracy, ClassResult, accuracy, by_class
from models.imagenet.labels import read_labels


def write_log(path: Path, answers: list[tuple[int, int]], dtype: str = "int32") -> Path:
    entries = [
        {"seq_id": n, "qsl_idx": index, "data": np.array([label], dtype).tobytes().hex().upper()}
        for n, (index, label) in enumerate(answers)
    ]
    path.write_text(json.dumps(entries))
    return path


def test_wording_is_the_official_one() -> None:
    assert str(Accuracy(38073, 50000)) == "accuracy=76.146%, good=38073, total=50000"


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_answers_of_every_type(tmp_path: Path, dtype: str) -> None:
    log = write_log(tmp_path / "log.json", [(2, 7), (0, 5), (1, 999)], dtype)
    result = accuracy(log, [5, 6, 7], dtype)
    assert (result.good, result.total) == (2, 3)
    assert result.value == pytest.approx(2 / 3)


def test_a_sample_counts_once_with_its_first_answer(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.json", [(0, 5), (0, 4), (1, 4), (1, 6)])
    assert str(accuracy(log, [5, 6])) == "accuracy=50.000%, good=1, total=2"


def test_background_is_never_right(tmp_path: Path) -> None:
    assert accuracy(write_log(tmp_path / "log.json", [(0, -1)]), [0]).good == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "no answers"),
        ("[{", "not an accuracy log"),
        ('[{"qsl_idx": 0}]', "not an entry"),
        ('[{"qsl_idx": 0, "data": "0102"}]', "2 bytes"),
        ('[{"qsl_idx": 3, "data": "00000000"}]', "sample 3 has no label"),
    ],
)
def test_logs_that_are_none(tmp_path: Path, content: str, reason: str) -> None:
    log = tmp_path / "log.json"
    log.write_text(content)
    with pytest.raises(InputError, match=reason) as caught:
        accuracy(log, [1])
    assert str(log) in str(caught.value)


def test_unknown_type_and_missing_log(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown response type 'int8'"):
        accuracy(tmp_path / "log.json", [1], "int8")
    with pytest.raises(InputError, match="no such accuracy log"):
        accuracy(tmp_path / "log.json", [1])


def test_labels_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "val_map.txt"
    file.write_text("b.JPEG 999\n\na.JPEG\t0\n")
    assert read_labels(file) == [("b.JPEG", 999), ("a.JPEG", 0)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a.JPEG 1\nb.JPEG\n", ":2: 'b.JPEG' is not `name label`"),
        ("a.JPEG one\n", ":1: 'a.JPEG one' is not `name label`"),
        ("a.JPEG -1\n", ":1: 'a.JPEG -1' is not `name label`"),
        ("a.JPEG 1\nb.JPEG 1000\n", ":2: label 1000 is not in 0..999"),
        ("a.JPEG 1\na.JPEG 2\n", ":2: a.JPEG is listed twice"),
        ("\n", ": holds no `name label` line"),
    ],
)
def test_label_errors_name_file_and_line(tmp_path: Path, content: str, reason: str) -> None:
    file = tmp_path / "val_map.txt"
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        read_labels(file)
    assert str(caught.value) == f"{file}{reason}"


def test_results_by_class() -> None:
    answers = {0: 7, 1: 7, 2: 3, 3: 5, 4: 5, 5: 9}
    labels = [7, 7, 7, 9, 9, 9, 1]
    assert by_class(answers, labels) == [
        ClassResult(7, 2, 3, [(3, 1)]),
        ClassResult(9, 1, 3, [(5, 2)]),
    ]
