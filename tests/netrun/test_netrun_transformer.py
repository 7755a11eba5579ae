"""The kernels for transformer encoders against numpy, and encoders against their network."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.artifact import ArtifactError
from models.quantize.encoder import Input, quantise, quantise_linear
from models.squad.network import QuestionAnswering
from models.squad.sizes import Sizes
from models.squad.stream import stream
from models.squad.synthetic import SyntheticData, seeded_network
from models.squad.task import SQUAD
from netrun.engines import EngineError
from netrun.engines.amx.assembler import Mem, Reg, Tmm, Zmm
from netrun.engines.amx.routine import AMX_BITS, aligned, permitted
from netrun.engines.onednn import library as dnn
from netrun.engines.recorder import first_call
from netrun.engines.rows import stacked
from netrun.engines.tiled import has_tiles
from netrun.engines.transformer import artifact
from netrun.engines.transformer.attention import KEYS, Attention
from netrun.engines.transformer.engine import EncoderRun
from netrun.engines.transformer.executor import Shape, groups
from netrun.engines.transformer.instructions import Vectors
from netrun.engines.transformer.normalise import Normalise
from netrun.engines.transformer.product import KINDS, WIDTH, Product
from netrun.roofline.sequences import SequencePasses, work

SIZES = Sizes(hidden=128, layers=2, heads=2, inner=256, pieces=1500)
ENCODINGS: list[tuple[str, Callable[[Vectors], None]]] = [
    ("62d174405c5301", lambda a: a.three("vsubps", Zmm(2), Zmm(17), Mem(Reg.R11, 64))),
    ("62615c405ffb", lambda a: a.three("vmaxps", Zmm(31), Zmm(20), Zmm(3))),
    ("62f14c485ed2", lambda a: a.three("vdivps", Zmm(2), Zmm(6), Zmm(2))),
    ("62e27d48a8c2", lambda a: a.three("vfmadd213ps", Zmm(16), Zmm(0), Zmm(2))),
    ("62123548bcc6", lambda a: a.three("vfnmadd231ps", Zmm(8), Zmm(9), Zmm(30))),
    ("62f245482cfe", lambda a: a.three("vscalefps", Zmm(7), Zmm(7), Zmm(6))),
    ("62453c40584061", lambda a: a.three("vaddph", Zmm(24), Zmm(24), Mem(Reg.R8, 6208))),
    ("62a53c485cda", lambda a: a.three("vsubph", Zmm(19), Zmm(8), Zmm(18))),
    ("62a5744059cb", lambda a: a.three("vmulph", Zmm(17), Zmm(17), Zmm(19))),
    ("62c574405dc8", lambda a: a.three("vminph", Zmm(17), Zmm(17), Zmm(8))),
    ("62c57c405fc1", lambda a: a.three("vmaxph", Zmm(16), Zmm(16), Zmm(9))),
    ("62561d48a86901", lambda a: a.three("vfmadd213ph", Zmm(13), Zmm(12), Mem(Reg.R9, 64))),
    ("62a67540bcc2", lambda a: a.three("vfnmadd231ph", Zmm(16), Zmm(17), Zmm(18))),
    ("62a2774072c0", lambda a: a.three("vcvtne2ps2bf16", Zmm(16), Zmm(17), Zmm(16))),
    ("62f14548db7907", lambda a: a.three("vpandd", Zmm(7), Zmm(7), Mem(Reg.RCX, 448))),
    ("62e17d4862c1", lambda a: a.three("vpunpckldq", Zmm(16), Zmm(0), Zmm(1))),
    ("62810d406acf", lambda a: a.three("vpunpckhdq", Zmm(17), Zmm(30), Zmm(31))),
    ("62b1fd406cc2", lambda a: a.three("vpunpcklqdq", Zmm(0), Zmm(16), Zmm(18))),
    ("62b1fd406dca", lambda a: a.three("vpunpckhqdq", Zmm(1), Zmm(16), Zmm(18))),
    ("62f17d4861d1", lambda a: a.three("vpunpcklwd", Zmm(2), Zmm(0), Zmm(1))),
    ("62011d4069fd", lambda a: a.three("vpunpckhwd", Zmm(31), Zmm(28), Zmm(29))),
    ("62a57d487dc0", lambda a: a.two("vcvtph2w", Zmm(16), Zmm(16))),
    ("62467d48135c2403", lambda a: a.two("vcvtph2psx", Zmm(27), Mem(Reg.R12, 96))),
    ("62a57d481de5", lambda a: a.two("vcvtps2phx", Zmm(20), Zmm(21))),
    ("62617c4851f2", lambda a: a.two("vsqrtps", Zmm(30), Zmm(2))),
    ("62027d484cc8", lambda a: a.two("vrcp14ps", Zmm(25), Zmm(24))),
    ("62e27e48208140100000", lambda a: a.narrow("vpmovswb", Mem(Reg.RCX, 4160), Zmm(16))),
    ("62a35d4843d4dd", lambda a: a.shuffle("vshufi32x4", Zmm(18), Zmm(4), Zmm(20), 0xDD)),
    ("62013c40c6e0b1", lambda a: a.shuffle("vshufps", Zmm(28), Zmm(24), Zmm(24), 0xB1)),
    ("62a3fd403ac101", lambda a: a.shuffle("vinserti64x4", Zmm(16), Zmm(16), Zmm(17), 1)),
    ("62637d4856e601", lambda a: a.fraction(Zmm(28), Zmm(6))),
    ("62e1fe486fd7", lambda a: a.copy(Zmm(18), Zmm(7))),
    ("4869cbc0000000", lambda a: a.multiply(Reg.RCX, Reg.RBX, 192)),
    ("0f1893c0070000", lambda a: a.prefetch_far(Mem(Reg.RBX, 1984))),
    ("c4e24a5ccc", lambda a: a.product_bf16(Tmm(1), Tmm(4), Tmm(6))),
]


@pytest.mark.parametrize(("code", "emit"), ENCODINGS, ids=[code for code, _ in ENCODINGS])
def test_instructions_are_encoded_as_gnu_s_assembler_does(
    code: str, emit: Callable[[Vectors], None]
) -> None:
    a = Vectors()
    emit(a)
    assert a.code().hex() == code


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def openmp(threads: int) -> Iterator[ctypes.CDLL]:
    lib = dnn.load()
    if lib.isa & AMX_BITS != AMX_BITS or not permitted():
        pytest.skip("this processor, or its kernel, has no amx_int8")
    lib.set_threads(threads)
    yield lib.openmp
    lib.set_threads(1)


def rows(values: NDArray[Any], stride: int, count: int | None = None) -> NDArray[np.uint8]:
    """Values as rows of bytes, `stride` apart, on a cache line."""
    memory = aligned((count or len(values)) * stride).reshape(-1, stride)
    data = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
    memory[: len(values), : data.shape[1]] = data
    return memory


def placed(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    memory = aligned(values.size)
    memory[:] = values
    return memory


def bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def floats(values: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (values.astype(np.uint32) << 16).view(np.float32)


def gelu(values: NDArray[np.float64]) -> NDArray[np.float64]:
    error: NDArray[np.float64] = np.vectorize(math.erf)(values / math.sqrt(2))
    return values * 0.5 * (1 + error)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize(
    ("tokens", "channels", "out_channels"),
    [(32, 64, 32), (33, 128, 96), (100, 1024, 64), (96, 2048, 64), (70, 3072, 32)],
)
def test_products(
    openmp: ctypes.CDLL, threads: int, kind: str, tokens: int, channels: int, out_channels: int
) -> None:
    rng = np.random.default_rng(tokens)
    memory = -(-tokens // WIDTH) * WIDTH
    layer = Product(channels, out_channels, kind, channels + 64, out_channels * KINDS[kind] + 64)
    assert layer.fits
    weights = rng.integers(-127, 128, (out_channels, channels)).astype(np.int8)
    stored = rng.integers(-128, 128, (tokens, channels)).astype(np.int8)
    scales = (rng.uniform(0.5, 2, out_channels) / (73 * 73 * channels**0.5)).astype(np.float32)
    bias, gain = rng.standard_normal((2, out_channels)).astype(np.float32)
    gain, shift = 20 + gain, rng.uniform(-100, -80, out_channels).astype(np.float32)
    if kind in ("u8", "s8", "int8"):
        scales, bias = 100 * scales, 100 * bias
    before = rng.standard_normal((tokens, out_channels)).astype(np.float16)
    factor, x = bfloat16(rng.standard_normal((2, tokens, out_channels)).astype(np.float32))
    packed, factors = layer.pack(weights), layer.pack_factors(scales, bias, gain, shift)
    assert np.array_equal(layer.unpack(packed), weights)
    kept = [scales, bias, *([gain, shift] if kind == "gelu" else [])]
    for one, other in zip(layer.unpack_factors(factors), kept, strict=True):
        assert np.allclose(one, other, rtol=1e-3)
    kernel = layer.make(memory, threads, placed(packed), placed(factors), openmp)
    kernel.set_tokens(tokens)
    source = rows(stored, layer.source_stride, memory)
    read = {"residual": before, "cross": factor}.get(kind, before[:, :1])
    residual = rows(read, layer.output_stride, memory)
    there = x if kind == "cross" else np.zeros((tokens, 1), np.uint8)
    output = rows(there, layer.output_stride, memory)
    kernel.arguments.source, kernel.arguments.output = source.ctypes.data, output.ctypes.data
    kernel.arguments.residual = residual.ctypes.data
    kernel.call()
    exact = (stored.astype(np.float64) @ weights.T.astype(np.float64)) * scales + bias
    given = np.ascontiguousarray(output[:tokens, : out_channels * KINDS[kind]])
    if kind in ("bf16", "relu", "cross"):
        if kind == "relu":
            exact = np.maximum(exact, 0)
        elif kind == "cross":
            exact = floats(x) + floats(factor) * exact
        assert np.abs(floats(given.view(np.uint16)) - exact).max() < 2**-8 * np.abs(exact).max()
    elif kind in ("residual", "half"):
        if kind == "residual":
            exact += before
        assert np.abs(given.view(np.float16) - exact).max() < 2**-9 * np.abs(exact).max()
    elif kind in ("u8", "s8", "int8"):
        found = given if kind == "u8" else given.view(np.int8)
        most = 255 if kind == "u8" else 127
        least = -128 if kind == "int8" else 0
        assert np.abs(found - np.clip(exact, least, most)).max() < 0.51
    else:
        exact = np.clip(gelu(exact) * gain + shift, -128, 127)
        assert np.abs(given.view(np.int8) - exact).max() < 0.7
    assert not output[:, out_channels * KINDS[kind] :].any()


@pytest.mark.parametrize("channels", [32, 64])
@pytest.mark.parametrize("lengths", [[1], [16, 33], [31, 32, 64, 5], [200, 384]])
def test_attention(openmp: ctypes.CDLL, threads: int, channels: int, lengths: list[int]) -> None:
    rng = np.random.default_rng(channels)
    heads, tokens = 2, sum(lengths)
    hidden = heads * channels
    layer = Attention(heads, channels, 6 * hidden + 64, hidden + 64)
    assert layer.fits
    values = rng.standard_normal((tokens, 3, heads, channels)).astype(np.float32)
    values[:, 2] *= 40
    stored = bfloat16(values)
    source = rows(stored.reshape(tokens, -1), layer.source_stride, tokens + KEYS)
    output = rows(np.full((tokens, hidden), 77, np.int8), layer.output_stride)
    kernel = layer.make(max(lengths), threads, openmp)
    kernel.arguments.source, kernel.arguments.output = source.ctypes.data, output.ctypes.data
    kernel.set_lengths(lengths)
    kernel.call()
    found = output[:, :hidden].view(np.int8).reshape(tokens, heads, channels)
    q, k, v = floats(stored).astype(np.float64).transpose(1, 2, 0, 3)
    start = 0
    for length in lengths:
        here = slice(start, start + length)
        weights = 2.0 ** (q[:, here] @ k[:, here].transpose(0, 2, 1))
        seen = weights @ v[:, here] / weights.sum(-1, keepdims=True)
        exact = np.clip(seen.transpose(1, 0, 2), -128, 127)
        assert np.abs(found[here] - exact).max() < 1.2
        start += length


def test_scores_beyond_every_network_s_leave_numbers(openmp: ctypes.CDLL, threads: int) -> None:
    layer = Attention(1, 32, 6 * 32 + 64, 32 + 64)
    values = np.ones((20, 3, 1, 32), np.float32)
    values[:, 0] *= np.array([1e4, -1e4] * 10, np.float32)[:, None, None]
    source = rows(bfloat16(values).reshape(20, -1), layer.source_stride, 20 + KEYS)
    output = rows(np.zeros((20, 32), np.int8), layer.output_stride)
    kernel = layer.make(20, threads, openmp)
    kernel.arguments.source, kernel.arguments.output = source.ctypes.data, output.ctypes.data
    kernel.set_lengths([20])
    kernel.call()
    assert (output[::2, :32].view(np.int8) == 1).all()


@pytest.mark.parametrize(("tokens", "channels"), [(1, 32), (5, 128), (40, 1024)])
def test_normalisation(openmp: ctypes.CDLL, threads: int, tokens: int, channels: int) -> None:
    rng = np.random.default_rng(channels)
    layer = Normalise(channels, 1e-12, 2 * channels + 64, channels + 64)
    assert layer.fits
    values = (rng.standard_normal((tokens, channels)) * 3 + 5).astype(np.float16)
    gamma, beta, gain, shift = rng.standard_normal((4, channels)).astype(np.float32)
    packed = layer.pack(gamma, beta, gain * 30, shift)
    assert np.allclose(layer.unpack(packed)[2], gain * 30, rtol=1e-3)
    kernel = layer.make(threads, placed(packed), openmp)
    source = rows(values, layer.stride)
    output, narrow = np.zeros_like(source), rows(np.zeros((tokens, 1)), layer.narrow_stride)
    kernel.arguments.source, kernel.arguments.output = source.ctypes.data, output.ctypes.data
    kernel.arguments.residual = narrow.ctypes.data
    kernel.set_tokens(tokens)
    kernel.call()
    exact = values.astype(np.float64)
    exact = (exact - exact.mean(1, keepdims=True)) / exact.std(1, keepdims=True)
    wide = np.ascontiguousarray(output[:, : 2 * channels]).view(np.float16)
    assert np.abs(wide - (exact * gamma + beta)).max() < 0.02
    stored = np.clip(exact * gain * 30 + shift, -128, 127)
    assert np.abs(narrow[:, :channels].view(np.int8) - stored).max() < 0.8


def test_groups_are_whole_sequences_and_even() -> None:
    assert list(groups([5, 5], 20)) == [(0, 2)]
    assert list(groups([10, 10, 10, 10], 20)) == [(0, 2), (2, 4)]
    assert list(groups([30, 1, 1], 20)) == [(0, 1), (1, 3)]
    assert list(groups([384] * 5, 1024)) == [(0, 2), (2, 4), (4, 5)]


@pytest.fixture(scope="module")
def network() -> QuestionAnswering:
    return seeded_network(SIZES)


def inputs(data: SyntheticData) -> dict[str, NDArray[np.int32]]:
    windows = data.windows
    return stream([window.ids for window in windows], [window.second for window in windows])


def tensors(given: dict[str, NDArray[np.int32]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(one) for name, one in given.items()}


@pytest.fixture(scope="module")
def encoder(network: QuestionAnswering, tmp_path_factory: pytest.TempPathFactory) -> Path:
    calibration = tensors(inputs(SyntheticData(seed=1, count=8, sizes=SIZES)))
    shape = Shape(SIZES.hidden, SIZES.layers, SIZES.heads, SIZES.inner, SIZES.eps)
    path = tmp_path_factory.mktemp("encoder") / "bert.network"
    artifact.write(path, quantise(network, [calibration], {}), shape, {})
    return path


@pytest.fixture(scope="module")
def exact(network: QuestionAnswering) -> tuple[dict[str, NDArray[np.int32]], NDArray[np.float32]]:
    given = inputs(SyntheticData(count=12, sizes=SIZES))
    with torch.inference_mode():
        return given, network(**tensors(given)).numpy()


@pytest.mark.parametrize("tiles", [True, False])
def test_an_encoder_computes_what_its_network_does(
    openmp: ctypes.CDLL, threads: int, encoder: Path, exact: Any, tiles: bool
) -> None:
    given, expected = exact
    run = EncoderRun(encoder, threads, tiles)
    for _ in range(2):
        logits = run(**given)["logits"]
        assert logits.shape == expected.shape
        assert (logits - expected).std() < 0.02 * expected.std()


def test_without_tiles_an_encoder_runs_through_pytorch(
    monkeypatch: pytest.MonkeyPatch, encoder: Path, exact: Any
) -> None:
    monkeypatch.setattr(dnn.Library, "isa", 0xE7)
    assert not has_tiles(Shape(128, 2, 2, 256, 1e-12))
    run = EncoderRun(encoder, 1)
    assert run.describe() == {"encoder": "PyTorch's oneDNN operators"}
    given, expected = exact
    assert (run(**given)["logits"] - expected).std() < 0.02 * expected.std()


def test_the_work_of_a_stream_is_that_of_its_sequences() -> None:
    lengths = [17, 80, 80, 301]
    shape = Shape(SIZES.hidden, SIZES.layers, SIZES.heads, SIZES.inner, SIZES.eps)
    layers = {name: (macs, moved) for name, _, _, macs, moved in work(shape, lengths)}
    assert sum(macs for macs, _ in layers.values()) == sum(map(SIZES.macs, lengths))
    assert layers["1.qkv"] == (478 * 128 * 384, 478 * (128 + 2 * 384) + 128 * 384)
    assert layers["0.output.norm"][0] == 0


def test_kernels_are_measured_one_by_one(encoder: Path) -> None:
    ids = [np.arange(1, size + 1, dtype="<i4") for size in (33, 12, 300)]
    given = first_call(SQUAD, [{"input_ids": one, "second": np.array(5, "<i4")} for one in ids])
    run = EncoderRun(encoder, 1)
    passes = SequencePasses(run, stacked(SQUAD.parts[0], given))
    assert passes.macs_with_padding() == sum(map(SIZES.macs, (12, 33, 300))) // 3
    if not run.tiles:
        with pytest.raises(EngineError, match="without AMX"):
            passes.measure()
        return
    passes.measure()
    layers = passes.layers()
    assert [layer.name for layer in layers] == [name for name, *_ in work(run.shape, [345])]
    assert layers[0].source == (345, SIZES.hidden)
    assert len(passes) == 1


def test_sizes_without_kernels() -> None:
    assert Shape(1024, 24, 16, 4096, 1e-12).fits
    assert Shape(384, 6, 12, 1536, 1e-12).fits
    assert not Shape(312, 4, 12, 1200, 1e-12).fits


def test_an_artifact_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "x.network"
    path.write_bytes(b"something else")
    with pytest.raises(ArtifactError, match=str(path)):
        EncoderRun(path, 1)


def test_large_channels_do_not_make_others_coarse() -> None:
    """A hundred times larger channel: with one scale for all, the others would be lost."""
    torch.manual_seed(3)
    values = torch.randn(400, 64) * torch.tensor([100.0] + [1.0] * 63) + 7
    weight = torch.randn(32, 64) / torch.tensor([100.0] + [1.0] * 63)
    exact = values @ weight.T
    low, high = values.amin(0), values.amax(0)
    scale = (high - low) / 255
    given = Input(scale, -(high + low) / 2 / scale)
    for sample in (None, values):
        layer = quantise_linear(weight, torch.zeros(32), given, sample)
        found = given.store(values) @ layer.weight.T * layer.scales + layer.bias
        assert (found - exact).std() < 0.012 * exact.std()


def test_ranges_of_training_are_taken_as_they_are(network: QuestionAnswering) -> None:
    batch = tensors(inputs(SyntheticData(seed=2, count=3, sizes=SIZES)))
    before = "bert.encoder.layer.0.intermediate.dense."
    ranges = {f"{before}_input_quantizer._amax": 6.35, f"{before}_weight_quantizer._amax": 0.254}
    arrays = quantise(network, [batch], ranges)
    norm = network.bert.encoder.layer[0].attention.output.LayerNorm
    assert arrays["0.attention.norm.gain"] == pytest.approx(norm.weight.numpy() / 0.05)
    assert arrays["0.inner.scales"] == pytest.approx(np.full(256, 0.05 * 0.002))
    exact = network.bert.encoder.layer[0].intermediate.dense.weight.numpy() / 0.002
    assert np.array_equal(arrays["0.inner.weight"], np.clip(np.rint(exact), -127, 127))
