"""Ranking networks: kernels for AMX against plain arithmetic, both ways of int8, tables."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import models
from models import artifact, resumed
from models.quantize.ranking import Ranking, best, quantise
from models.ranking import Shape
from netrun.engines import EngineError
from netrun.engines.amx import supported
from netrun.engines.amx.routine import aligned
from netrun.engines.onednn.library import load
from netrun.engines.order import Order
from netrun.engines.ranking import tables
from netrun.engines.ranking.interaction import AHEAD, Interaction
from netrun.engines.ranking.layers import row_bytes
from netrun.engines.ranking.pooled import AHEAD as POOLED_AHEAD
from netrun.engines.ranking.pooled import Pooled
from netrun.engines.ranking.portable import PortableRanking
from netrun.engines.ranking.tiles import Kernels
from netrun.engines.transformer.product import Product
from netrun.roofline.pairs import work

TILES = supported(load().isa, Interaction(27, 128, 576))
needs_tiles = pytest.mark.skipif(not TILES, reason="this processor has no AMX")
V1 = Shape((64, 128), (96, 64, 1), tuple(range(3, 29)))
V2 = Shape((32, 64), (96, 64, 1), (9, 5, 4), (3, 1, 2), cross_rank=64)
Pairs = tuple[NDArray[np.float32], NDArray[np.int32]]


def pairs(shape: Shape, count: int) -> Pairs:
    random = np.random.default_rng(5)
    dense = np.log1p(random.integers(0, 50, (count, 13))).astype(np.float32)
    rows = np.repeat(shape.rows, shape.hot)
    return dense, (random.random((count, len(rows))) * rows).astype(np.int32)


def seeded(shape: Shape) -> Any:
    import torch

    from models.criteo.network import DLRM

    torch.manual_seed(3)
    network = DLRM(shape).eval()
    network.tables.weight = torch.randn(sum(shape.rows), shape.width) * shape.width**-0.25
    return network


def int8_tables(network: Any, path: Path) -> artifact.Artifact:
    tables.write(path, network.tables.arrays(), "int8", {})
    return tables.read(path)


@needs_tiles
@pytest.mark.parametrize(("width", "features"), [(128, 27), (64, 27), (128, 18), (64, 32)])
def test_the_interaction_is_every_product_below_the_diagonal(width: int, features: int) -> None:
    random = np.random.default_rng(features)
    count, rows = 37, 50
    layer = Interaction(features, width, row_bytes(width + features * (features - 1) // 2 + 16))
    held = random.integers(-128, 128, ((features - 1) * rows, width)).astype(np.int8)
    firsts = np.arange(features - 1, dtype=np.int64) * rows
    factors = random.uniform(1e-4, 2e-3, (features, features)).astype(np.float32)
    numbers = np.zeros((count + AHEAD, features - 1), np.int32)
    numbers[:count] = random.integers(0, rows, (count, features - 1))
    output = aligned((count + 1) * layer.output_stride).reshape(count + 1, -1).view(np.int8)
    x = random.integers(0, 128, (count, width)).astype(np.int8)
    output[:count, :width] = x
    kernel = layer.make(held, firsts, 1, layer.pack_factors(factors), load().openmp)
    kernel.arguments.source = numbers.ctypes.data
    kernel.arguments.output = output.ctypes.data
    kernel.set_pairs(count)
    kernel.call()

    vectors = np.concatenate([x[:, None], held[numbers[:count] + firsts]], 1).astype(np.int32)
    sums = vectors @ vectors.transpose(0, 2, 1)
    below = np.tril_indices(features, -1)
    scaled = sums[:, below[0], below[1]].astype(np.float32) * factors[below]
    expected = np.clip(np.rint(scaled), -128, 127)
    assert 20 < expected.std() < 127  # neither nothing nor the ends alone
    assert (output[:count, width : width + layer.dots] == expected).all()
    assert (output[:count, :width] == x).all()
    assert not output[count].any()  # no pair beyond the last


@needs_tiles
@pytest.mark.parametrize(("kind", "read"), [("u8", "s8"), ("u8", "u8"), ("s8", "u8")])
def test_a_layer_with_a_relu_is_rounded_to_its_range(kind: str, read: str) -> None:
    random = np.random.default_rng(1)
    count, narrow, wide = 45, 128, 96
    layer = Product(narrow, wide, kind, row_bytes(narrow), row_bytes(wide), read)
    weights = random.integers(-127, 128, (wide, narrow)).astype(np.int8)
    scales = random.uniform(1e-3, 2e-3, wide).astype(np.float32)
    bias = random.normal(0, 9, wide).astype(np.float32)
    low, high = (-128, 128) if read == "s8" else (0, 256)
    source = aligned(64 * layer.source_stride).reshape(64, -1)
    given = random.integers(low, high, (count, narrow))
    source[:count, :narrow] = given.astype(np.int8 if read == "s8" else np.uint8).view(np.uint8)
    output = aligned(64 * layer.output_stride).reshape(64, -1)
    packed = [layer.pack(weights), layer.pack_factors(scales, bias)]
    lines = [aligned(each.size) for each in packed]
    for line, each in zip(lines, packed, strict=True):
        line[:] = each
    kernel = layer.make(64, 1, lines[0], lines[1], load().openmp)
    kernel.arguments.source, kernel.arguments.output = source.ctypes.data, output.ctypes.data
    kernel.set_tokens(count)
    kernel.call()
    exact = (given @ weights.T.astype(np.int64)) * scales.astype(np.float64) + bias
    most = 255 if kind == "u8" else 127
    expected = np.clip(exact, 0, most)
    assert (expected == most).any()
    assert (expected == 0).any()
    found = output[:count, :wide].astype(np.float64)
    assert np.abs(found - expected).max() <= 0.5001


@needs_tiles
@pytest.mark.parametrize(("source", "kind"), [("bf16", "relu"), ("bf16", "int8"), ("s8", "cross")])
def test_a_layer_reads_and_writes_bfloat16(source: str, kind: str) -> None:
    import torch

    torch.manual_seed(2)
    count, narrow, wide = 45, 768, 96  # more bytes than a chunk has, where it is bfloat16
    low = torch.bfloat16 if source == "bf16" else torch.int8
    strides = row_bytes(narrow * low.itemsize), row_bytes(2 * wide)
    layer = Product(narrow, wide, kind, *strides, source)
    assert (layer.chunk < layer.depth) == (source == "bf16")
    given = (20 * torch.randn(count, narrow)).to(low)
    weights = (20 * torch.randn(wide, narrow)).to(low)
    scales, bias = torch.rand(wide) * 1e-3 + 3e-3, torch.randn(wide)

    def rows(values: Any, stride: int) -> NDArray[np.uint8]:
        memory = aligned(96 * stride).reshape(96, stride)
        memory[:count, : values.shape[1] * values.itemsize] = values.view(torch.uint8).numpy()
        return memory

    before, factor = (torch.randn(count, wide).bfloat16() for _ in range(2))
    read, output, residual = map(rows, (given, before, factor), (*strides, strides[1]))
    kept = (
        weights.view(torch.int16).numpy().view(np.uint16) if source == "bf16" else weights.numpy()
    )
    packed = [layer.pack(kept), layer.pack_factors(scales.numpy(), bias.numpy())]
    lines = [aligned(each.size) for each in packed]
    for line, each in zip(lines, packed, strict=True):
        line[:] = each
    kernel = layer.make(96, 1, lines[0], lines[1], load().openmp)
    arguments = kernel.arguments
    arguments.source, arguments.output = read.ctypes.data, output.ctypes.data
    arguments.residual = residual.ctypes.data
    kernel.set_tokens(count)
    kernel.call()
    exact = given.double() @ weights.double().T * scales + bias
    if kind == "int8":
        found = torch.from_numpy(output[:count, :wide].view(np.int8).copy()).double()
        assert (found - exact.clamp(-128, 127)).abs().max() < 0.51
        assert found.min() < -50
        return
    expected = exact.relu() if kind == "relu" else before.double() + factor.double() * exact
    found = torch.from_numpy(output[:count, : 2 * wide].copy()).view(torch.bfloat16).double()
    torch.testing.assert_close(found, expected, rtol=2**-8, atol=1e-2)


@needs_tiles
@pytest.mark.parametrize("width", [64, 128])
def test_rows_of_a_table_are_summed_up(width: int) -> None:
    import torch

    random = np.random.default_rng(width)
    hot, count, rows = (1, 3, 200, 2), 29, 40
    layer = Pooled(hot, width, row_bytes(2 * width * (1 + len(hot))))
    held = random.integers(-128, 128, (len(hot) * rows, width)).astype(np.int8)
    firsts = np.arange(len(hot), dtype=np.int64) * rows
    scales = random.uniform(0.01, 0.1, len(hot)).astype(np.float32)
    numbers = np.zeros((count + POOLED_AHEAD, sum(hot)), np.int32)
    numbers[:count] = random.integers(0, rows, (count, sum(hot)))
    held[numbers[0, 4:204] + 2 * rows] = -128  # as far from 0 as sums get
    outputs = [aligned((count + 1) * layer.output_stride).reshape(count + 1, -1) for _ in range(2)]
    x = random.integers(0, 256, (count, 2 * width)).astype(np.uint8)
    outputs[0][:count, : 2 * width] = x
    kernel = layer.make(held, firsts, scales, 1, load().openmp)
    arguments = kernel.arguments
    arguments.source = numbers.ctypes.data
    arguments.output, arguments.residual = (each.ctypes.data for each in outputs)
    kernel.set_pairs(count)
    kernel.call()
    table = np.repeat(np.arange(len(hot)), hot)
    found = held[numbers[:count] + firsts[table]].astype(np.float32)
    sums = np.stack([found[:, table == t].sum(1) * scales[t] for t in range(len(hot))], 1)
    expected = torch.from_numpy(sums.reshape(count, -1)).bfloat16().view(torch.uint8).numpy()
    for output in outputs:
        assert (output[:count, : 2 * width] == x).all()
        assert (output[:count, 2 * width : 2 * width * (1 + len(hot))] == expected).all()
        assert not output[count].any()  # no pair beyond the last


@pytest.mark.parametrize("shape", [V1, V2])
def test_int8_gives_nearly_the_networks_logits(shape: Shape, tmp_path: Path) -> None:
    import torch

    network = seeded(shape)
    dense, sparse = pairs(shape, 900)
    with torch.inference_mode():
        expected = network(torch.from_numpy(dense), torch.from_numpy(sparse)).numpy()
    made = quantise(network, dense[:600], sparse[:600])
    stored = int8_tables(network, tmp_path / "tables")
    weight, scales = stored.arrays["weight"], stored.arrays["scales"]
    given = (shape, made.arrays, made.stored, weight, scales, 1)
    assert Kernels(shape).fits
    found = {"portable": PortableRanking(*given).run(dense, sparse)}
    if TILES:
        found["tiles"] = Kernels(shape).make(*given[1:], load().openmp).run(dense, sparse)
    assert len(found) == 1 + TILES
    for name, logits in found.items():
        error = np.std(logits - expected) / np.std(expected)
        assert error < 0.06, name


@needs_tiles
@pytest.mark.parametrize("shape", [V1, V2])
def test_a_profile_has_every_kernel_of_the_roofline(shape: Shape, tmp_path: Path) -> None:
    network = seeded(shape)
    made = quantise(network, *pairs(shape, 300))
    stored = int8_tables(network, tmp_path / "tables")
    given = (stored.arrays["weight"], stored.arrays["scales"], 1, load().openmp)
    executor = Kernels(shape).make(made.arrays, made.stored, *given)
    spent = executor.profile(*pairs(shape, 1100))
    kernels = {name: macs for name, _, _, macs, _ in work(shape, 1)}
    assert list(spent) == list(kernels)
    assert min(spent.values()) > 0
    assert sum(kernels.values()) == shape.macs + 13 * shape.bottom[0] - shape.top[-2]


def test_ranges_lose_little_to_single_values() -> None:
    import torch

    values = torch.distributions.Exponential(1.0).sample((100_000,))
    assert best(values, signed=False).scale < 0.95 * float(values.max()) / 255
    assert best(torch.rand(1000), signed=False).scale <= 1 / 255
    assert best(torch.zeros(3), signed=True).scale == 1.0


@pytest.mark.parametrize("precision", ["int8", "bf16", "fp32"])
def test_tables_are_kept_in_every_precision(precision: str, tmp_path: Path) -> None:
    import torch

    given = [torch.randn(n, 16).numpy() * n for n in (5, 1, 300)]
    given[1][:] = 0
    tables.write(tmp_path / "tables", given, precision, {"of": "a test"})
    found = tables.read(tmp_path / "tables")
    assert found.facts["rows"] == [5, 1, 300]
    assert found.facts["of"] == "a test"
    weight, scales = found.arrays["weight"], found.arrays["scales"]
    whole = np.concatenate(given)
    if precision == "fp32":
        assert (weight == whole).all()
    elif precision == "bf16":
        expected = torch.from_numpy(whole).bfloat16().view(torch.int16).numpy()
        assert (weight.view(np.int16) == expected).all()
    else:
        each = np.repeat(scales, [5, 1, 300])[:, None]
        assert np.abs(weight * each - whole).max() <= 0.5001 * scales.max()
        assert np.abs(weight[:5]).max() == 127


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_tables_that_were_interrupted_are_gone_on_with_within_a_table(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROWS", 10)
    monkeypatch.setattr(resumed, "NOTED", 1)
    random = np.random.default_rng(2)
    given = [random.standard_normal((n, 16)).astype(np.float32) * n for n in (25, 1, 300, 7)]
    tables.write(tmp_path / "whole", given, precision, {})
    read: list[int] = []

    def failing(rows: NDArray[np.float32], *how: Any) -> NDArray[Any]:
        read.append(len(rows))
        if len(read) == 20:
            raise KeyboardInterrupt
        return stored(rows, *how)

    stored = tables._stored
    monkeypatch.setattr(tables, "_stored", failing)
    with pytest.raises(KeyboardInterrupt):
        tables.write(tmp_path / "other", given, precision, {})
    tables.write(tmp_path / "other", given, precision, {})
    # What was not noted is read again: the one block that failed.
    assert sum(read[:19]) + sum(read[20:]) == 333
    assert (tmp_path / "other").read_bytes() == (tmp_path / "whole").read_bytes()


def test_engines_that_would_copy_the_tables_are_refused(tmp_path: Path) -> None:
    order = Order(models.get("dlrm"), None, "fp32", 1, 1, tmp_path)
    for ask in (order.graph, order.inputs):
        with pytest.raises(EngineError, match="only onednn and pytorch keep embedding tables"):
            ask(order.task.parts[0])


def test_a_network_is_described_by_plain_values() -> None:
    made = Ranking({}, {"x": best(np_to_torch(np.ones(3, np.float32)), signed=True)})
    assert made.facts() == {"x": {"scale": pytest.approx(1 / 127), "signed": True}}
    assert Shape(**dataclasses.asdict(V2)) == V2


def np_to_torch(array: NDArray[Any]) -> Any:
    import torch

    return torch.from_numpy(array)


def test_tables_larger_than_memory_are_only_touched_where_they_are_looked_up(
    tmp_path: Path,
) -> None:
    """40 GB of int8, all but a few rows a hole: instances neither read nor copy it whole."""
    shape = dataclasses.replace(V1, rows=(312_500_000, *V1.rows[1:]))
    size, width = sum(shape.rows), shape.width
    plan = artifact.Plan(
        tables.KIND,
        {"precision": "int8", "rows": list(shape.rows)},
        {"weight": ("|i1", (size, width)), "scales": ("<f4", (len(shape.rows),))},
    )
    path = tmp_path / "tables"
    random = np.random.default_rng(0)
    dense, sparse = pairs(shape, 200)
    with path.open("wb") as file:
        try:
            file.truncate(plan.start + plan.size)
        except OSError as error:
            pytest.skip(f"no files of 40 GB here: {error.strerror}")
        if path.stat().st_blocks > 1 << 11:
            pytest.skip("this file system has no sparse files")
        file.write(plan.header("0" * 64))
        firsts = np.cumsum(shape.rows) - shape.rows
        for row in np.unique(sparse + firsts).tolist():
            file.seek(plan.start + row * width)
            file.write(random.integers(-127, 128, width).astype(np.int8).tobytes())
        file.seek(plan.start + size * width)
        file.write(np.full(len(shape.rows), 0.004, "<f4").tobytes())
    assert path.stat().st_blocks * 512 < 64 << 20
    # As `artifact.ensure` notes it when it has hashed the file, which here would take a minute.
    artifact._stamp_file(path).write_text(artifact._stamp(path))

    network = seeded(V1)
    made = quantise(network, *pairs(V1, 300))
    stored = tables.read(path)
    given = (shape, made.arrays, made.stored, stored.arrays["weight"], stored.arrays["scales"], 1)
    rows = stored.arrays["weight"][sparse + firsts].astype(np.float32) * np.float32(0.004)
    before = _own_bytes()
    found = [PortableRanking(*given).run(dense, sparse)]
    if TILES:
        found.append(Kernels(shape).make(*given[1:], load().openmp).run(dense, sparse))
    assert _own_bytes() - before < 200 << 20
    expected = _logits(network, dense, rows)
    for logits in found:
        assert np.std(logits - expected) < 0.06 * np.std(expected)


def _own_bytes() -> int:
    """Memory of this process that is no file's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


def _logits(network: Any, dense: NDArray[np.float32], rows: NDArray[np.float32]) -> Any:
    import torch

    del network.tables
    network.tables = lambda sparse: torch.from_numpy(rows)
    with torch.inference_mode():
        return network(torch.from_numpy(dense), torch.empty(0)).numpy()
