"""The embedded default, small: seeded sequences, a seeded network, its own answers as the truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from base.errors import InputError
from models.batch import Samples
from models.squad.sizes import Sizes
from models.squad.stream import stream
from models.squad.synthetic import CALIBRATED, QUANTILES, SyntheticData, seeded_network
from models.squad.task import SQUAD
from models.task import Sources

Sample = Mapping[str, NDArray[Any]]
SIZES = Sizes(hidden=128, layers=3, heads=2, inner=256, pieces=1500)


def test_lengths_follow_squad_s() -> None:
    data = SyntheticData()
    lengths = sorted(len(data.read(index)["input_ids"]) for index in range(len(data)))
    assert lengths[0] < 90
    assert lengths[-1] <= 384
    assert abs(np.mean(lengths) - 179) < 4
    assert abs(np.median(lengths) - QUANTILES[16]) < 5


def test_sequences_are_the_same_every_time_and_others_by_seed() -> None:
    data, again, other = SyntheticData(), SyntheticData(), SyntheticData(seed=1)
    assert all(
        np.array_equal(one.ids, two.ids)
        for one, two in zip(data.windows, again.windows, strict=True)
    )
    assert data.sha256 == again.sha256 != other.sha256
    assert not np.array_equal(data.windows[0].ids, other.windows[0].ids)


def test_a_network_answers_its_own_truth_by_the_marks(tmp_path: Path) -> None:
    network = seeded_network(SIZES)
    data = SyntheticData(tmp_path, count=12, sizes=SIZES)
    answers = {}
    for index, window in enumerate(data.windows):
        given = stream([window.ids], [window.second])
        with torch.inference_mode():
            logits = network(**{name: torch.from_numpy(one) for name, one in given.items()})
        answers[index] = logits.numpy().tobytes()
    quality = data.judge(answers)
    assert (quality.exact_match, quality.f1, quality.questions) == (100.0, 100.0, 12)
    spans = data.spans()
    found = [int(window.ids[start]) for window, (start, _) in zip(data.windows, spans, strict=True)]
    assert sum(word >= SIZES.pieces - 64 for word in found) >= 10
    # The truth is kept, and wrong answers are seen.
    (kept,) = (tmp_path / "squad").iterdir()
    np.save(kept, spans + 1)
    worse = SyntheticData(tmp_path, count=12, sizes=SIZES).judge(answers)
    assert worse.exact_match == 0.0 < worse.f1 < 100.0
    with pytest.raises(InputError, match="response to sample 12, of 12"):
        data.judge({12: b""})


def test_the_task_answers_a_batch_as_it_scores_it(tmp_path: Path) -> None:
    network = seeded_network(SIZES)
    data = SyntheticData(tmp_path, count=5, sizes=SIZES)

    def run(**inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        with torch.inference_mode():
            logits = network(**{name: torch.from_numpy(one) for name, one in inputs.items()})
        return {"logits": logits.numpy()}

    answers = SQUAD.infer({"network": run}, Samples([data.read(index) for index in range(5)]))
    for index, logits in enumerate(answers):
        assert logits.shape == (len(data.read(index)["input_ids"]), 2)
        assert logits.dtype == np.float32
        assert logits.nbytes <= SQUAD.answer_bytes
    score = SQUAD.score({i: np.ascontiguousarray(a).tobytes() for i, a in enumerate(answers)}, data)
    assert (score.value, score.scored) == (100.0, 5)
    assert score.line == '{"exact_match": 100.0, "f1": 100.0}'


def test_calibration_of_the_default_is_not_what_is_served() -> None:
    data = SQUAD.calibration(Sources())
    assert len(data) == CALIBRATED
    assert data.sha256 != SQUAD.data(Sources()).sha256
