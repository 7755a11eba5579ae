"""int8 transducers: gates, rows without padding, parts against fp32, with tiles and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.librispeech.network import Encoder, Joint, Prediction, Sizes
from models.librispeech.task import RNNT_TASK
from models.quantize import transducer as quantise
from netrun.engines.amx.routine import aligned
from netrun.engines.engine import EngineSpec
from netrun.engines.onednn import library
from netrun.engines.transducer import artifact
from netrun.engines.transducer.engine import TransducerEngine, runs_on_tiles
from netrun.engines.transducer.executor import Joint as Int8Joint
from netrun.engines.transducer.gates import Gates
from netrun.engines.transducer.portable import PortableEncoder, PortablePrediction
from netrun.engines.transducer.rows import Rows
from netrun.roofline.utterances import UtterancePasses

SIZES = Sizes(encoder=96, pre=2, post=2, embedding=24, prediction=40, prediction_layers=2, joint=48)
tiles = pytest.mark.skipif(not runs_on_tiles(), reason="no AMX")
Parts = Callable[..., Any]


def makers(tiled: bool) -> tuple[Parts, Parts]:
    if not tiled:
        return PortableEncoder, PortablePrediction
    from netrun.engines.transducer.executor import Encoder as Tiled
    from netrun.engines.transducer.executor import Prediction as TiledPrediction

    openmp = library.load().openmp
    return (
        lambda arrays, threads: Tiled(arrays, threads, openmp),
        lambda arrays, threads: TiledPrediction(arrays, threads, openmp),
    )


@pytest.fixture
def features() -> tuple[Any, Any]:
    """Utterances of several lengths in no order, one of them without frames."""
    random = np.random.default_rng(3)
    lengths = np.array([5, 12, 0, 7, 1, 12, 8], np.int64)
    return random.standard_normal((len(lengths), 12, 240)).astype(np.float32), lengths


def stored(tmp_path: Path, arrays: quantise.Arrays) -> artifact.Arrays:
    artifact.write(tmp_path / "part", arrays, {})
    return artifact.read(tmp_path / "part")


def test_rows_hold_the_frames_of_those_that_go_on() -> None:
    rows = Rows.of(np.array([4, 2, 2, 1]))
    assert rows.counts.tolist() == [4, 3, 1, 1]
    assert rows.starts.tolist() == [0, 4, 7, 8]
    assert rows.total == 9
    assert [rows.of_utterance(rank).tolist() for rank in range(4)] == [
        [0, 4, 7, 8],
        [1, 5],
        [2, 6],
        [3],
    ]


@pytest.mark.parametrize("tiled", [False, pytest.param(True, marks=tiles)])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_encoder_says_what_fp32_says(
    tmp_path: Path, features: tuple[Any, Any], tiled: bool, threads: int
) -> None:
    torch.manual_seed(1)
    module = Encoder(SIZES).eval()
    given, lengths = features
    arrays = stored(tmp_path, quantise.encoder(module, list(given)))
    found = makers(tiled)[0](arrays, threads).run(given, lengths)
    with torch.inference_mode():
        expected = module(torch.from_numpy(given), torch.from_numpy(lengths)).numpy()
    assert found.shape == (7, 6, 64)
    for row, other, length in zip(found, expected, (lengths + 1) // 2, strict=True):
        np.testing.assert_allclose(row[:length, :48], other[:length], atol=0.02)
        assert not row[:length, 48:].any()
    # Alone as in company: answers do not depend on the batch.
    again = makers(tiled)[0](arrays, threads).run(given[3:4], lengths[3:4])
    np.testing.assert_array_equal(again[0, :4], found[3, :4])


@pytest.mark.parametrize("tiled", [False, pytest.param(True, marks=tiles)])
def test_a_prediction_goes_on_from_the_state_it_gave(tmp_path: Path, tiled: bool) -> None:
    torch.manual_seed(2)
    module = Prediction(SIZES).eval()
    step = makers(tiled)[1](stored(tmp_path, quantise.prediction(module)), 1).run
    labels = np.random.default_rng(4).integers(0, 28, (6, 35))
    none = np.zeros((35, 0, 0), np.float32)
    hidden, cell = none, none
    exact: tuple[Any, Any] = (torch.from_numpy(none), torch.from_numpy(none))
    for given in labels:
        found, hidden, cell = step(given, hidden, cell)
        with torch.inference_mode():
            expected, *state = module(torch.from_numpy(given), *exact)
        exact = (state[0], state[1])
        np.testing.assert_allclose(found[:, :48], expected, atol=0.02)
        np.testing.assert_allclose(hidden[..., :40], state[0], atol=0.02)
        assert not hidden[..., 40:].any()


def test_a_joint_network_ignores_what_was_filled_up() -> None:
    module = Joint(SIZES).eval()
    random = np.random.default_rng(5)
    encoded, predicted = (random.standard_normal((9, 64)).astype(np.float32) for _ in range(2))
    found = Int8Joint(quantise.joint(module)).run(encoded, predicted)
    with torch.inference_mode():
        expected = module(*(torch.from_numpy(one[:, :48]) for one in (encoded, predicted)))
    assert found.tolist() == expected.tolist()


@tiles
def test_gates_are_those_of_an_lstm() -> None:
    units, rows = 48, 5
    layer = Gates(units, 8 * units + 64, 4 * units, units + 64)
    random = np.random.default_rng(6)
    exponents = (random.standard_normal((rows, units // 16, 4, 16)) * 20).astype(np.float16)
    exponents[0, 0, :, 0] = 60_000  # gates that are shut, and the smallest cell
    exponents[0, 0, :, 1] = -60_000
    source = aligned(rows * layer.source_stride).reshape(rows, -1)
    source[:, : 8 * units].view(np.float16)[:] = exponents.reshape(rows, -1)
    cell = aligned(rows * layer.cell_stride).view(np.float32).reshape(rows, units)
    cell[:] = before = random.standard_normal((rows, units)).astype(np.float32)
    output = aligned(rows * layer.output_stride).reshape(rows, -1)
    kernel = layer.make(2, library.load().openmp)
    kernel.arguments.source, kernel.arguments.output = source.ctypes.data, output.ctypes.data
    kernel.arguments.residual = cell.ctypes.data
    kernel.set_rows(rows)
    kernel.call()
    with np.errstate(over="ignore"):
        gates = 1 / (1 + np.exp2(exponents.astype(np.float64)))
    i, f, g, o = (gates[:, :, gate].reshape(rows, units) for gate in range(4))
    expected = f * before + i * (2 * g - 1)
    np.testing.assert_allclose(cell, expected, atol=1e-3)
    states = output[:, :units].view(np.int8)
    np.testing.assert_allclose(states, 127 * o * np.tanh(expected), atol=0.6)


def test_features_are_cut_off_where_that_errs_least() -> None:
    random = np.random.default_rng(7)
    values = random.standard_normal(100_000).astype(np.float32)
    assert 3.5 < 127 * quantise.feature_scale([values]) < 5.5
    assert quantise.feature_scale([np.zeros(9, np.float32)]) > 0


@pytest.mark.parametrize("portable", [True, pytest.param(False, marks=tiles)])
def test_a_roofline_is_made_of_all_that_an_answer_takes(tmp_path: Path, portable: bool) -> None:
    torch.manual_seed(8)
    made = {
        "encoder": quantise.encoder(Encoder(SIZES).eval(), [np.ones((2, 240), np.float32)]),
        "prediction": quantise.prediction(Prediction(SIZES).eval()),
        "joint": quantise.joint(Joint(SIZES).eval()),
    }
    for part, arrays in made.items():
        artifact.write(tmp_path / f"rnnt.{part}", arrays, {})
    spec = EngineSpec(RNNT_TASK, "int8", tmp_path / "rnnt.encoder", 2, threads=1)
    engine = TransducerEngine(spec, portable)
    random = np.random.default_rng(9)
    waves = [random.integers(-9000, 9000, size).astype("<i2") for size in (4800, 2400)]
    samples = [{"wave": wave, "rate": np.array(16_000, "<i4")} for wave in waves]
    passes = UtterancePasses(RNNT_TASK, engine, samples)
    passes.measure()
    layers = {layer.name: layer for layer in passes.layers()}
    (taken,) = passes._steps
    # Labels of a network that nobody trained are many: the prediction's state is multiplied.
    assert taken.keys() == layers.keys()
    assert layers["encoder.0.input"].macs == (10 + 5) * 240 * 4 * 128
    assert layers["encoder.0.state"].macs == (9 + 4) * 128 * 4 * 128
    assert layers["encoder.2.input"].macs == (5 + 3) * 256 * 4 * 128
    assert layers["encoder.2.state"].bytes > 4 * 128 * 4 * 128, "each step reads the weights"
    assert layers["joint"].macs % (64 * 29) == 0
    assert min(layer.bytes for layer in layers.values()) > 0
