import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.imagenet.classifier import classifier, classifiers
from models.synthetic import SyntheticAssets, assets, build, images
from models.synthetic.head import fit_head


def test_images_are_drawn_from_their_seeds_alone() -> None:
    first = images.draw(5, 1)
    assert first.dtype == np.uint8
    assert np.array_equal(first, images.draw(5, 1))
    second = images.draw(5, 2)
    assert first.shape != second.shape or not np.array_equal(first, second)


def test_labels_are_spread_over_those_of_imagenet() -> None:
    labels = [images.label(kind) for kind in range(images.CLASSES)]
    assert (labels[0], labels[-1], len(set(labels))) == (0, 999, images.CLASSES)


def test_head_is_the_ridge_regression() -> None:
    rng = np.random.default_rng(4)
    features = rng.normal(size=(60, 100)).astype(np.float32) + np.float32(3)
    outputs = [int(n) for n in rng.choice([2, 5, 7], size=60)]
    weight, bias = fit_head(features, outputs, 9)
    centred = (features - features.mean(axis=0)).astype(np.float64)
    targets = 8.0 * (np.array(outputs)[:, None] == [2, 5, 7])
    penalty = 0.03 * (centred**2).sum() / 60
    expected = np.linalg.solve(
        centred.T @ centred + penalty * np.eye(100), centred.T @ (targets - targets.mean(axis=0))
    )
    assert np.allclose(weight[[2, 5, 7]], expected.T, atol=1e-5)
    logits = features @ weight.T + bias
    assert np.allclose(logits[:, [2, 5, 7]].mean(axis=0), targets.mean(axis=0), atol=1e-3)
    assert (logits.argmax(axis=1) == outputs).mean() > 0.95


def test_data_sets(synthetic: dict[str, SyntheticAssets]) -> None:
    found = synthetic["resnet50"]
    evaluation, calibration = found.dataset, found.calibration
    assert evaluation.synthetic
    assert calibration.synthetic
    assert evaluation.name == "synthetic evaluation"
    assert evaluation.labels is not None
    assert len(evaluation) == 1024
    assert set(Counter(evaluation.labels).values()) == {32}
    contents = {file.read_bytes() for file in (*evaluation.files, *calibration.files)}
    assert len(contents) == len(evaluation) + len(calibration)
    assert synthetic["mobilenet"].dataset == evaluation


def test_built_once(synthetic: dict[str, SyntheticAssets], synthetic_cache: Path) -> None:
    def unexpected(done: int, total: int) -> None:
        raise AssertionError(f"built again: {done} of {total}")

    for name, found in synthetic.items():
        assert build(classifier(name), synthetic_cache, unexpected) == found


def test_damage_is_seen(synthetic: dict[str, SyntheticAssets], tmp_path: Path) -> None:
    weights = synthetic["mobilenet"].weights
    shutil.copytree(weights.parent / "images", tmp_path / "images")
    copies = [Path(shutil.copy(p, tmp_path)) for p in (weights, weights.with_suffix(".sha256"))]
    assert assets.drawn(tmp_path / "images", tmp_path) is not None
    assert assets.is_fitted(copies[0])
    for damaged in (tmp_path / "images/evaluation/synthetic_evaluation_00000003.JPEG", copies[0]):
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
    assert assets.drawn(tmp_path / "images", tmp_path) is None
    assert not assets.is_fitted(copies[0])


def _top1(network: nn.Module, inputs: torch.Tensor, labels: list[int], offset: int) -> float:
    with torch.inference_mode():
        found = torch.cat([network(part).argmax(dim=1) for part in inputs.split(8)]) + offset
    return float((found == torch.tensor(labels)).float().mean())


@pytest.mark.parametrize("name", classifiers())
def test_accuracy_with_and_without_the_noise_of_int8(
    synthetic: dict[str, SyntheticAssets], name: str
) -> None:
    model, found = classifier(name), synthetic[name]
    assert found.dataset.labels is not None
    count = 34
    labels = found.dataset.labels[:count]
    samples = np.stack([model.preprocess(file) for file in found.dataset.files[:count]])
    inputs = torch.from_numpy(model.sample.normalise(samples))
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    network = model.load_weights(found.weights)
    offset = -1 if name == "mobilenet" else 0
    assert _top1(network, inputs, labels, offset) >= 0.97

    # The inputs of every layer in 8 bits over their range, the weights in 8 bits per channel.
    def rounded(_module: nn.Module, given: tuple[torch.Tensor]) -> torch.Tensor:
        (x,) = given
        step = (x.max() - x.min()) / 255
        return (x / step).round() * step

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_pre_hook(rounded)
            weight = module.weight.data
            step = weight.flatten(1).abs().amax(dim=1).clamp(min=1e-12) / 127
            step = step.view(-1, *[1] * (weight.dim() - 1))
            weight.copy_((weight / step).round() * step)
    assert _top1(network, inputs, labels, offset) >= 0.97
