"""Every engine through the same seam: any part, several of them, rows and arrays, any lengths."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from netrun_tasks import (
    NETWORKS,
    Pictures,
    Small,
    TwoParts,
    exact,
    pictures,
    samples,
    save_weights,
)

from models import artifact
from models.batch import Samples
from models.task import Array, Batch, Part, Run
from netrun.engines import ENGINES, EngineError, recorder, registry
from netrun.engines.engine import Answering, EngineSpec, answers
from netrun.engines.order import Order
from netrun.engines.registry import EngineFile, build

ROOT = Path(__file__).resolve().parents[2]
TASK = TwoParts()
BATCH = 4
FLOATS = [
    (name, precision)
    for name in ENGINES
    for precision in ("fp32", "bf16")
    if registry.facts(name).computes and precision in registry.facts(name).precisions
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    save_weights(path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def run_of(name: str, spec: EngineSpec, part: str) -> Run:
    engine = registry.load(name, spec)
    assert not isinstance(engine, Answering)
    return engine.part(part)


def installed(name: str) -> None:
    try:
        registry.check(name)
    except EngineError as error:
        pytest.skip(str(error))


def built(name: str, precision: str, weights: Path, cache: Path) -> EngineSpec:
    installed(name)
    path = build(name, Order(TASK, weights, precision, BATCH, 1, cache))
    assert path is not None
    return EngineSpec(TASK, precision, path, BATCH, 1)


@pytest.mark.parametrize(("name", "precision"), FLOATS)
def test_answers_are_the_networks(name: str, precision: str, weights: Path, cache: Path) -> None:
    answer = answers(TASK, registry.load(name, built(name, precision, weights, cache)))
    asked = samples(7)
    expected = exact(TASK, weights, asked)
    span = np.ptp(np.concatenate(expected))
    error = 0.0
    # Batches of each size, and more samples than the batch size.
    for size in (1, 2, 3, 4, 7):
        found = answer(Samples(asked[:size]))
        for one, other in zip(found, expected, strict=False):
            assert isinstance(one, np.ndarray)
            assert one.shape == other.shape
            assert one.dtype == np.float32
            error = max(error, float(np.abs(one - other).max()) / span)
    assert error < (1e-5 if precision == "fp32" else 0.02)


@pytest.mark.parametrize(("name", "precision"), FLOATS)
def test_rows_and_arrays_answer_alike(
    name: str, precision: str, weights: Path, cache: Path
) -> None:
    run = run_of(name, built(name, precision, weights, cache), "picture")
    images = np.random.default_rng(1).standard_normal((3, 3, 8, 8), np.float32)
    images.flags.writeable = False
    whole = run(image=images)["value"].copy()
    scattered = [images[2], images[0], images[1]]
    np.testing.assert_allclose(run(image=scattered)["value"], whole[[2, 0, 1]], rtol=1e-5)


@pytest.mark.parametrize(("name", "precision"), FLOATS)
def test_what_is_not_the_parts_is_refused(
    name: str, precision: str, weights: Path, cache: Path
) -> None:
    run = run_of(name, built(name, precision, weights, cache), "text")
    ids = [np.arange(3), np.arange(4)]
    with pytest.raises(ValueError, match="part text takes ids, mask, not ids"):
        run(ids=np.zeros((1, 3), np.int64))
    with pytest.raises(ValueError, match=r"rows of ids have shapes \(3,\), \(4,\)"):
        run(ids=ids, mask=[row >= 0 for row in ids])
    with pytest.raises(ValueError, match="inputs of 1, 2 rows"):
        run(ids=np.zeros((2, 3), np.int64), mask=np.ones((1, 3), bool))


@pytest.mark.parametrize(("name", "precision"), FLOATS)
def test_the_second_time_it_is_found(name: str, precision: str, weights: Path, cache: Path) -> None:
    spec = built(name, precision, weights, cache)
    files = [spec.file(part) for part in TASK.parts]
    written = [file.stat().st_mtime_ns for file in files]
    assert built(name, precision, weights, cache) == spec
    assert [file.stat().st_mtime_ns for file in files] == written


@pytest.mark.parametrize(("name", "precision"), FLOATS)
def test_an_artifact_that_is_broken_is_one_line(
    name: str, precision: str, weights: Path, tmp_path: Path
) -> None:
    spec = built(name, precision, weights, tmp_path)
    file = spec.file(TASK.parts[1])
    file.write_bytes(file.read_bytes()[:-70])
    with pytest.raises(EngineError, match=f"{file}.*built anew") as caught:
        registry.load(name, spec)
    assert "\n" not in str(caught.value)


INT8 = [name for name in ENGINES if "int8" in registry.facts(name).precisions
        and registry.facts(name).computes]  # fmt: skip


@pytest.mark.parametrize("name", INT8)
def test_int8_is_calibrated_by_each_engine_and_near_fp32(
    name: str, tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> None:
    installed(name)
    task, weights = Pictures(), tmp_path_factory.mktemp("int8") / "weights.pth"
    torch.manual_seed(0)
    torch.save(Small().state_dict(), weights)
    seen: list[tuple[int, int]] = []
    order = Order(
        *(task, weights, "int8", BATCH, 1, cache),
        calibration=pictures(16),
        progress=lambda done, total: seen.append((done, total)),
    )
    path = build(name, order)
    assert path is not None
    answer = answers(task, registry.load(name, EngineSpec(task, "int8", path, BATCH, 1)))
    asked = pictures(2 * BATCH, seed=1)
    expected = np.stack(exact(task, weights, asked))
    found = np.stack([np.asarray(each) for each in answer(Samples(asked))])
    errors = found - expected
    assert errors.any(), "it is quantised"
    # Of what tells the samples apart, and not of what all have in common.
    apart = (errors - errors.mean(0)).std() / (expected - expected.mean(0)).std()
    assert apart < 0.5
    assert seen == [] or seen[-1] == (16, 16)  # a program may be there from the engine before
    with pytest.raises(EngineError, match="--calibration"):
        build(name, replace(order, calibration=None))


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_int8_of_several_parts_is_calibrated_on_what_they_are_given(
    name: str, weights: Path, cache: Path
) -> None:
    installed(name)
    order = Order(TASK, weights, "int8", BATCH, 1, cache, calibration=samples(20, seed=2))
    path = build(name, order)
    assert path is not None
    (text, picture) = (order.inputs(part) for part in TASK.parts)
    assert [len(each["ids"]) for each in text] == [len(s["ids"]) for s in samples(20, seed=2)]
    assert all(each["mask"].all() for each in text)
    assert len(picture) == 20
    answer = answers(TASK, registry.load(name, EngineSpec(TASK, "int8", path, BATCH, 1)))
    asked = samples(6)
    expected = exact(TASK, weights, asked)
    found = [np.asarray(each) for each in answer(Samples(asked))]
    assert [each.shape for each in found] == [each.shape for each in expected]
    errors = np.concatenate(found) - np.concatenate(expected)
    assert 0 < errors.std() < 0.1 * np.concatenate(expected).std()


def test_calibration_keeps_a_bounded_choice(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    monkeypatch.setattr(recorder, "MOST", 5)
    asked = samples(40)
    seen: list[tuple[int, int]] = []

    def module(part: Part) -> torch.nn.Module:
        graph = TASK.graph(part.name, weights)
        assert isinstance(graph, torch.nn.Module)
        return graph

    kept = recorder.record(TASK, asked, module, lambda *done: seen.append(done))
    assert seen[-1] == (40, 40)
    assert {name: len(rows) for name, rows in kept.items()} == {"text": 5, "picture": 5}
    places = [
        next(i for i, s in enumerate(asked) if np.array_equal(s["image"], row["image"]))
        for row in kept["picture"]
    ]
    assert len({*places}) == 5
    assert max(places) >= 5, "not the first ones alone"


class FromFile(TwoParts):
    """A picture's network that is an ONNX file, for one row alone."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)
        self.parts = TwoParts.parts[1:]

    def graph(self, part: str, weights: Path | None) -> Path:
        return Path(self.file)

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Sequence[Array]:
        return list(run["picture"](image=batch.views("image"))["value"])


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "pytorch"])
def test_an_onnx_file_of_fixed_rows_is_run_row_by_row(name: str, tmp_path: Path) -> None:
    installed(name)
    pytest.importorskip("onnx", reason="onnx is not installed (the extra 'onnxruntime')")
    torch.manual_seed(0)
    network = NETWORKS["picture"]().eval()
    file = tmp_path / "picture.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 3, 8, 8),), str(file), dynamo=False)
    task = FromFile(file)
    order = Order(task, None, "fp32", BATCH, 1, tmp_path)
    if name == "pytorch":
        with pytest.raises(EngineError, match=r"picture\.onnx: engine pytorch runs no ONNX"):
            build(name, order)
        return
    path = build(name, order)
    assert path is not None
    answer = answers(task, registry.load(name, EngineSpec(task, "fp32", path, BATCH, 1)))
    asked = samples(3)
    with torch.no_grad():
        images = torch.from_numpy(np.stack([sample["image"] for sample in asked]))
        expected = network(images)["value"].numpy()
    found = np.stack([np.asarray(each) for each in answer(Samples(asked))])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_files_are_engines() -> None:
    """mypy holds each against the protocol; here that all are named."""
    from netrun.engines import null, onednn, onnxruntime, openvino, pytorch, sim

    files: list[EngineFile] = [onednn, pytorch, openvino, onnxruntime, null, sim]
    assert [registry.engine_file(name) for name in ENGINES] == files


def test_facts_cost_no_library() -> None:
    code = (
        "import sys\nfrom netrun.engines import ENGINES\nfrom netrun.engines import registry\n"
        "[registry.facts(name) for name in ENGINES]\n"
        "large = {'torch', 'openvino', 'nncf', 'onnxruntime', 'onnx', 'rich'}\n"
        "print(*sorted(large & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_an_engine_that_is_not_installed_names_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from netrun.engines import pytorch

    absent = replace(pytorch.ENGINE, extra="torches", packages=("absent_package",))
    monkeypatch.setattr(pytorch, "ENGINE", absent)
    with pytest.raises(EngineError, match=r"pip install 'loadrun\[torches\]'"):
        registry.check("pytorch")


def test_random_values_are_not_drawn_for_stored_parameters(weights: Path, cache: Path) -> None:
    """Large networks would take seconds for them in every instance."""
    spec = built("pytorch", "fp32", weights, cache)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    registry.load("pytorch", spec)
    assert torch.equal(torch.get_rng_state(), before)


def test_parameters_view_the_mapped_file(weights: Path, cache: Path) -> None:
    from functools import partial

    from netrun.engines.pytorch.network import load
    from netrun.engines.pytorch.stored import KIND

    for precision in ("fp32", "bf16"):
        spec = built("pytorch", precision, weights, cache)
        for part in TASK.parts:
            stored = artifact.read(spec.file(part), KIND)
            network = load(partial(TASK.graph, part.name, None), stored)
            places = {a.ctypes.data for a in stored.arrays.values()}
            assert {t.data_ptr() for t in network.state_dict().values()} == places
