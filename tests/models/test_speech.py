"""Speech: features, RNN-T and its greedy decoding, word errors, and data sets of sounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from base.errors import InputError
from models.errors import WeightsError
from models.librispeech import decode, score, weights
from models.librispeech.dataset import open_speech
from models.librispeech.features import Frames, extract, mel_filters
from models.librispeech.labels import BLANK, LABELS, normalised, text
from models.librispeech.network import Encoder, Sizes
from models.task import Run

STRINGS = 12


def run_of(module: torch.nn.Module, *names: str) -> Run:
    def run(**inputs: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        given = [torch.from_numpy(np.ascontiguousarray(array)) for array in inputs.values()]
        with torch.inference_mode():
            found = module(*given)
        outputs = found if isinstance(found, tuple) else (found,)
        return {name: output.numpy() for name, output in zip(names, outputs, strict=True)}

    return run


def test_the_trained_network_says_what_it_is_known_to_say(shared_data: Path) -> None:
    folder = shared_data / "speech/digits_dev"
    path = shared_data / "weights/small/rnnt_small.pt"
    state = weights.read(path)
    parts = {
        name: weights.part(name, weights.sizes_of(path, state), state)
        for name in ("encoder", "prediction", "joint")
    }
    data = open_speech(folder, rate=8000)
    waves = [data.read(index)["wave"] for index in range(STRINGS)]
    features = [extract(wave, data.frames) for wave in waves]
    assert [len(one) for one in features] == [data.frames.features(len(wave)) for wave in waves]
    lengths = np.array([len(one) for one in features])
    padded = np.zeros((STRINGS, lengths.max(), 240), np.float32)
    for row, one in zip(padded, features, strict=True):
        row[: len(one)] = one
    encoded = run_of(parts["encoder"], "encoded")(features=padded, length=lengths)["encoded"]
    spelt = decode.greedy(
        encoded,
        (lengths + 1) // 2,
        run_of(parts["prediction"], "predicted", "hidden", "cell"),
        run_of(parts["joint"], "label"),
    )
    known = (folder / "hypotheses.txt").read_text().splitlines()[:STRINGS]
    assert [text(labels) for labels in spelt] == known
    assert score.word_error_rate(data.texts[:STRINGS], known) == 0


def test_features_have_no_mean_and_unit_deviation() -> None:
    wave = np.random.default_rng(1).standard_normal(20_000).astype(np.float32) / 8
    found = extract(wave, Frames())
    assert found.shape == (Frames().features(20_000), 240) == (42, 240)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-4)
    # The last feature may reach past the end: zeros before the mean is taken off.
    np.testing.assert_allclose(found.std(0, ddof=1), 1, atol=1e-3)
    whole = np.round(wave * (1 << 15)).astype(np.int16)
    np.testing.assert_allclose(extract(whole, Frames()), found, atol=0.05)


def test_mel_filters_have_equal_area_and_cover_all_frequencies() -> None:
    filters = mel_filters(16_000)
    assert filters.shape == (80, 257)
    areas = filters[40:].sum(1) * 8000 / 256
    np.testing.assert_allclose(areas, 1, rtol=0.06)
    assert (filters[:, 3:-1].sum(0) > 0).all()


class Scripted:
    """A joint and a prediction network that spell what a script says, frame by frame."""

    def __init__(self, script: list[list[int]]) -> None:
        self.script = script

    def prediction(self, **inputs: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        labels, spelt = inputs["label"], inputs["hidden"]
        count = np.zeros((len(labels), 1, 1), np.float32)
        if spelt.shape[1]:
            count = spelt + 1
        return {"predicted": count[:, 0], "hidden": count, "cell": count}

    def joint(self, **inputs: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        frames, spelt = inputs["encoded"][:, 0].astype(int), inputs["predicted"][:, 0].astype(int)
        labels = []
        for frame, count in zip(frames.tolist(), spelt.tolist(), strict=True):
            before = sum(len(one) for one in self.script[:frame])
            left = self.script[frame][count - before :] if count >= before else []
            labels.append(left[0] if left else BLANK)
        return {"label": np.array(labels)}


def test_labels_of_all_frames_are_spelt_and_those_past_the_end_are_not() -> None:
    script = [[], [3, 4], [], [], [], [], [5], [6, 7, 8], []]
    scripted = Scripted(script)
    encoded = np.arange(9, dtype=np.float32)[None, :, None].repeat(4, 0)
    found = decode.greedy(encoded, np.array([9, 7, 1, 0]), scripted.prediction, scripted.joint)
    assert found == [[3, 4, 5, 6, 7, 8], [3, 4, 5], [], []]


def test_a_frame_spells_thirty_labels_at_most() -> None:
    scripted = Scripted([[1] * 100])
    found = decode.greedy(np.zeros((1, 1, 1)), np.array([1]), scripted.prediction, scripted.joint)
    assert found == [[1] * decode.MOST]


def test_padding_changes_no_frame_before_the_end() -> None:
    encoder = Encoder(Sizes(encoder=8, joint=4)).eval()
    features = torch.randn(1, 7, 240)
    longer = torch.cat([features, torch.randn(1, 6, 240)], 1)
    with torch.inference_mode():
        alone = encoder(features, torch.tensor([7]))
        padded = encoder(longer, torch.tensor([7]))
    torch.testing.assert_close(padded[:, : alone.shape[1]], alone)


def test_word_errors_are_the_references() -> None:
    truths, found = ["one two three", "four"], ["one three", "four five"]
    rate = score.word_error_rate(truths, found)
    assert rate == 2 / 4
    assert score.line(rate) == "Word Error Rate: 50.0%, accuracy=50.0%"
    assert score.word_error_rate(["one"], [""]) == 1


def test_transcripts_are_read_in_the_networks_alphabet() -> None:
    assert normalised("  He hoped,  there'd be - STEW! ") == "he hoped there'd be stew"
    assert text([7, 4, 0]) == LABELS[7] + LABELS[4] + " "


def sound(path: Path, seconds: float = 0.5, rate: int = 16_000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(2).integers(-99, 99, (int(seconds * rate), channels), np.int16)
    soundfile.write(path, samples[:, 0] if channels == 1 else samples, rate)
    return path


def test_librispeechs_folders_and_mlperfs_manifest_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "LibriSpeech/1272/128104"
    for number in (0, 1):
        sound(folder / f"1272-128104-000{number}.flac")
    (folder / "1272-128104.trans.txt").write_text(
        "1272-128104-0000 MISTER QUILTER\n1272-128104-0001 NOR IS\n"
    )
    data = open_speech(tmp_path)
    assert (len(data), data.texts, data.fields[0].dtype) == (
        2,
        ["mister quilter", "nor is"],
        "<i2",
    )
    assert data.cost(data.read(0)) == 17
    entries = [
        {
            "files": [{"fname": str(file.relative_to(tmp_path))}],
            "original_duration": seconds,
            "transcript": "a b",
        }
        for file, seconds in zip(data.files, (0.5, 15.5), strict=True)
    ]
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    assert open_speech(tmp_path / "manifest.json").files == [data.files[0]]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"rate": 8000}, r"a\.wav: is sampled at 8000 Hz, the network is for 16000 Hz"),
        ({"channels": 2}, r"a\.wav: has 2 channels"),
        ({"seconds": 0.01}, r"a\.wav: has 160 samples, less than a window"),
    ],
)
def test_sounds_that_do_not_fit_are_named(
    tmp_path: Path, wrong: dict[str, Any], expected: str
) -> None:
    sound(tmp_path / "a.wav", **wrong)
    (tmp_path / "transcripts.tsv").write_text("file\ttext\na.wav\thello\n")
    with pytest.raises(InputError, match=expected):
        open_speech(tmp_path)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("name\tsaid\n", "expected columns `file` and `text`"),
        ("file\ttext\nb.wav\thello\n", r"b\.wav: no such file \(1 of 1"),
        ("file\ttext\n", "holds no utterances"),
    ],
)
def test_a_bad_table_gets_one_line(tmp_path: Path, table: str, expected: str) -> None:
    (tmp_path / "transcripts.tsv").write_text(table)
    with pytest.raises(InputError, match=expected):
        open_speech(tmp_path)


def test_weights_of_another_network_get_one_line(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "x.pt")
    state = weights.read(tmp_path / "x.pt")
    with pytest.raises(WeightsError, match="not an RNN-T: has no"):
        weights.sizes_of(tmp_path / "x.pt", state)
