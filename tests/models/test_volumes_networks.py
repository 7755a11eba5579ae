from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from volume_cases import (
    SHARED_DATA,
    SMALL,
    SMALL_BRATS,
    Views,
    brats_network,
    kits19_network,
    noise,
    running,
)

from models.errors import WeightsError
from models.task import Sources
from models.volumes import architecture, synthetic, weights
from models.volumes.networks import GenericUNet, Unet3D
from models.volumes.task import UNET_BRATS, UNET_KITS19
from models.volumes.widths import BRATS, KITS19


@pytest.mark.parametrize(
    ("make", "widths", "parameters", "shape", "macs"),
    [
        (Unet3D, KITS19, 31_190_243, (128, 128, 128), 477_298_688_000),
        (GenericUNet, BRATS, 31_198_976, (224, 224, 160), 1_848_224_931_840),
    ],
)
def test_the_networks_are_the_published_ones(
    make: Any, widths: Any, parameters: int, shape: tuple[int, ...], macs: int
) -> None:
    with torch.device("meta"):
        network = make(widths)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert widths.macs(shape) == macs
    assert network(torch.empty(1, widths.inputs, 64, 64, 64, device="meta")).shape == (
        *(1, widths.classes, 64, 64, 64),
    )


def exported(network: Any, path: Path, inputs: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, torch.zeros(1, inputs, 16, 16, 16), str(path), opset_version=12, dynamo=False
        )


@pytest.mark.parametrize("form", ["state", "best", "script", "traced", "onnx"])
@pytest.mark.parametrize("which", ["kits19", "brats"])
def test_weights_come_in_every_published_form(tmp_path: Path, form: str, which: str) -> None:
    network = kits19_network() if which == "kits19" else brats_network()
    kind = architecture.KITS19 if which == "kits19" else architecture.BRATS
    path, inputs = tmp_path / "weights", network.widths.inputs
    if form == "state":
        torch.save({"state_dict": network.state_dict(), "epoch": 3}, path)
    elif form == "best":
        other = {name: tensor + 1 for name, tensor in network.state_dict().items()}
        held = {"state_dict": other, "best_model_state_dict": network.state_dict()}
        torch.save(held, path)
    elif form == "script":
        torch.jit.save(torch.jit.script(network), path)
    elif form == "traced":
        torch.jit.save(torch.jit.trace(network, torch.zeros(1, inputs, 16, 16, 16)), path)
    else:
        pytest.importorskip("onnxruntime")
        path = path.with_suffix(".onnx")
        exported(network, path, inputs)
    assert weights.widths_in(kind, path) == network.widths
    found = weights.load_network(kind, path)
    for name, tensor in network.state_dict().items():
        if form != "onnx" or name in found.state_dict():
            if form == "onnx" and name.startswith("seg_outputs.0"):
                continue  # of training alone: in no graph
            assert torch.equal(found.state_dict()[name], tensor), name


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="not mlcommons/training's Unet3D"):
        UNET_KITS19.fitting(path)
    state = kits19_network().state_dict()
    del state["upsample.0.conv1.1.bias"]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"missing: upsample\.0\.conv1\.1\.bias"):
        UNET_KITS19.graph("network", path)


def test_an_onnx_file_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = tmp_path / "weights.onnx"
    exported(kits19_network(), path, 1)
    proto = onnx.load(str(path))
    for node in proto.graph.node:
        if node.op_type == "Concat":
            node.input[0], node.input[1] = node.input[1], node.input[0]
    onnx.save(proto, str(path))
    with pytest.raises(WeightsError, match="does not compute what it computes"):
        weights.load_network(architecture.KITS19, path)


def test_the_task_fits_the_weights_widths(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(kits19_network().state_dict(), path)
    task = UNET_KITS19.fitting(path)
    assert task.widths == SMALL  # type: ignore[attr-defined]
    assert task.sizes(path) == {"levels": (16, 32, 32), "inputs": 1, "classes": 3}
    # What an instance makes before it maps the stored weights.
    assert task.graph("network", None).widths == SMALL  # type: ignore[union-attr]


def test_volumes_are_answered_by_classes_and_heads_by_logits() -> None:
    volumes = [noise(1, 16, 24, 8), noise(1, 32, 32, 32)]
    run = {"network": running(kits19_network())}
    answers = UNET_KITS19.infer(run, Views(volumes))  # type: ignore[arg-type]
    assert [a.shape for a in answers] == [(16, 24, 8), (32, 32, 32)]  # type: ignore[union-attr]
    heads = {"network": running(brats_network().half().float())}
    (logits,) = UNET_BRATS.infer(heads, Views([noise(4, 16, 16, 8)]))  # type: ignore[arg-type]
    assert logits.shape == (SMALL_BRATS.classes, 16, 16, 8)  # type: ignore[union-attr]


@pytest.mark.parametrize("task", [UNET_KITS19, UNET_BRATS])
def test_the_embedded_volumes_are_the_same_every_time(task: Any) -> None:
    data = task.data(Sources())
    assert (len(data), data.synthetic) == (4, True)
    make = synthetic.head if task is UNET_BRATS else synthetic.body
    image, labels = make((64, 64, 64), np.random.default_rng(3))
    again, _ = make((64, 64, 64), np.random.default_rng(3))
    assert np.array_equal(image, again)
    assert image.dtype == np.float32
    assert set(np.unique(labels)) == set(range(task.widths.classes))


@pytest.mark.parametrize(
    ("task", "shape", "number"),
    [(UNET_KITS19, (1, 128, 128, 128), 8), (UNET_BRATS, (4, 224, 224, 160), 2)],
)
def test_int8_is_calibrated_on_what_the_network_is_given(
    monkeypatch: pytest.MonkeyPatch, task: Any, shape: tuple[int, ...], number: int
) -> None:
    def empty(shape: tuple[int, ...], random: Any) -> tuple[Any, Any]:
        return np.zeros((task.widths.inputs, *shape), np.float32), None

    monkeypatch.setattr(synthetic, "body", empty)
    monkeypatch.setattr(synthetic, "head", empty)
    chosen = task.calibration(Sources())
    assert len(chosen) == number
    sample = chosen.read(number - 1)
    assert sample["image"].shape == shape
    assert chosen.cost(sample) == 1
    # Progress and the stall limit count what goes through the network.
    served = task.data(Sources())
    assert served.cost(served.read(0)) == (8 if task is UNET_KITS19 else 1)


def test_the_last_layer_is_fitted_to_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setitem(synthetic.FITTED, "3d-unet", ((64, 64, 64), (64, 64, 64)))
    task = replace(UNET_KITS19, widths=SMALL)
    network = synthetic.seeded(task)
    synthetic.fit(task, network, lambda done, total: None)
    image, labels = synthetic.body((64, 64, 64), np.random.default_rng(9))
    found = running(network)(image=[image])["logits"][0].argmax(0)
    kidney = 2 * ((found == 1) & (labels == 1)).sum() / ((found == 1).sum() + (labels == 1).sum())
    assert kidney > 0.6


SMALL_WEIGHTS = SHARED_DATA / "weights" / "small" / "unet3d_small.pt"


@pytest.mark.skipif(
    not SMALL_WEIGHTS.is_file(), reason=f"no volumes in {SHARED_DATA} (set LOADRUN_SHARED_DATA)"
)
def test_a_trained_network_has_its_known_dice() -> None:
    pytest.importorskip("nibabel")
    sources = Sources(data=SHARED_DATA / "volumes" / "hippocampus_dev20", weights=SMALL_WEIGHTS)
    task = UNET_KITS19.fitting(SMALL_WEIGHTS)
    data = task.data(sources)
    assert len(data) == 20
    run = {"network": running(task.graph("network", SMALL_WEIGHTS))}
    (labels,) = task.infer(run, Views([data.read(0)["image"]]))  # type: ignore[arg-type]
    score = task.score({0: labels.tobytes()}, data)  # type: ignore[union-attr]
    assert score.line == "Accuracy: mean = 0.91253, class 1 = 0.9258, class 2 = 0.8992"
