"""ONNX files as networks of an ImageNet classifier's data and metric."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx_models import seeded, write_mobilenet
from torch import nn

import models
from models.batch import Samples
from models.errors import WeightsError
from models.imagenet.classifier import Classifier, classifier
from models.mobilenet.network import MobileNet
from models.own.onnx_pixels import over_pixels
from models.pixels import OverPixels
from models.task import Sources
from netrun.engines import EngineError
from netrun.engines.order import Order

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
LIKE = {name: classifier(name) for name in ("resnet50", "resnet50-tf", "mobilenet")}


def small(classes: int) -> nn.Module:
    torch.manual_seed(classes)
    layers = (nn.Conv2d(3, 8, 7, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(8, classes)).eval()


class Last(nn.Module):
    """Takes images channels last."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.network(images.permute(0, 3, 1, 2)).softmax(1)
        return found


def export(path: Path, network: nn.Module, free: bool = True, shape: str = "first") -> Path:
    size = (1, 224, 224, 3) if shape == "last" else (1, 3, 224, 224)
    axes = {"x": {0: "n"}, "y": {0: "n"}} if free else None
    names: dict[str, object] = {"input_names": ["x"], "output_names": ["y"]}
    torch.onnx.export(
        network, (torch.zeros(size),), str(path), dynamic_axes=axes, dynamo=False, **names
    )
    return path


def pixels(like: Classifier, count: int = 3) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, (count, *like.sample.shape), np.uint8)


def computed(path: Path, samples: object) -> Array:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"pixels": samples})
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", LIKE)
@pytest.mark.parametrize("free", [True, False], ids=["any", "one"])
def test_preprocessing_goes_before_the_network(tmp_path: Path, name: str, free: bool) -> None:
    like, network = LIKE[name], small(1000)
    path = over_pixels(export(tmp_path / "n.onnx", network, free), like.sample)
    samples = pixels(like)
    with torch.no_grad():
        wanted = OverPixels(network, like.sample)(torch.from_numpy(samples)).numpy()
    assert np.abs(computed(path, samples) - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_channels_last(tmp_path: Path) -> None:
    like, network = LIKE["mobilenet"], small(1001)
    path = over_pixels(export(tmp_path / "n.onnx", Last(network), shape="last"), like.sample)
    samples = pixels(like)
    with torch.no_grad():
        wanted = OverPixels(network, like.sample)(torch.from_numpy(samples)).softmax(1).numpy()
    assert np.allclose(computed(path, samples), wanted, atol=1e-6)


def test_reshapes_to_one_row_take_any(tmp_path: Path) -> None:
    """As TensorFlow's converter writes a batch of 1."""
    like, network = LIKE["mobilenet"], seeded(MobileNet(1001))
    write_mobilenet(tmp_path / "m.onnx", network)
    samples = pixels(like, 2)
    found = computed(over_pixels(tmp_path / "m.onnx", like.sample), samples)
    with torch.no_grad():
        wanted = OverPixels(network, like.sample)(torch.from_numpy(samples)).softmax(1).numpy()
    assert np.abs(found - wanted).max() < 1e-3 * wanted.max()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: export(path, small(10)), "its output is [1, 10], not [n, 1000 or 1001]"),
        (lambda path: export(path, Last(small(1000)), shape="last").write_bytes(b""), "without a"),
        (lambda path: path.write_bytes(b"nothing"), "not a whole ONNX file"),
        (lambda path: export(path, nn.Flatten()), "not [n, 1000 or 1001]"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    make(tmp_path / "n.onnx")
    with pytest.raises(WeightsError) as caught:
        over_pixels(tmp_path / "n.onnx", LIKE["resnet50"].sample)
    assert said in str(caught.value)
    assert str(tmp_path / "n.onnx") in str(caught.value)


def test_another_size_of_images(tmp_path: Path) -> None:
    path = tmp_path / "n.onnx"
    torch.onnx.export(small(1000), (torch.zeros(1, 3, 192, 192),), str(path), dynamo=False)
    with pytest.raises(WeightsError, match=r"takes float \[1, 3, 192, 192\], not float"):
        over_pixels(path, LIKE["resnet50"].sample)


@pytest.mark.parametrize(("classes", "offset"), [(1000, 0), (1001, -1)])
def test_answers_are_classes_without_the_background(
    tmp_path: Path, classes: int, offset: int
) -> None:
    (tmp_path / "n.onnx").touch()
    task = models.get(f"{tmp_path}/n.onnx:resnet50")
    logits = np.zeros((2, classes), np.float32)
    logits[0, 7] = logits[1, classes - 1] = 1
    batch = Samples([{"pixels": row} for row in pixels(LIKE["resnet50"], 2)])
    found = task.infer({"network": lambda **_: {"logits": logits}}, batch)
    assert np.asarray(found).tolist() == [7 + offset, 999]
    assert np.asarray(found).dtype == np.int32


def order(path: Path, like: str) -> Order:
    task = models.get(f"{path}:{like}")
    file = task.weights(Sources())
    return Order(task, file, "fp32", 1, 1, path.parent / "cache")


def test_engines_of_modules_take_the_architecture_that_is_named(tmp_path: Path) -> None:
    network = seeded(MobileNet(1001))
    write_mobilenet(tmp_path / "m.onnx", network)
    asked = order(tmp_path / "m.onnx", "mobilenet")
    module = asked.module(asked.task.parts[0], "pytorch")
    samples = torch.from_numpy(pixels(LIKE["mobilenet"], 1))
    with torch.no_grad():
        wanted = OverPixels(network, LIKE["mobilenet"].sample)(samples)
        assert torch.allclose(module(samples), wanted, rtol=1e-4, atol=1e-4)
    assert asked.task.sizes(None) == {"classes": 1001}


def test_other_architectures_name_engines_that_run_them(tmp_path: Path) -> None:
    asked = order(export(tmp_path / "n.onnx", small(1000)), "mobilenet")
    with pytest.raises(EngineError) as caught:
        asked.module(asked.task.parts[0], "onednn")
    assert "does not fit MobileNet" in str(caught.value)
    assert str(caught.value).endswith("choose --engine onnxruntime or openvino")
