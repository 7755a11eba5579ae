"""Accuracy on real images, where they are at hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from artifacts import ensure_artifact
from integration_run import SHARED_DATA, WEIGHTS, loadrun, real_data

from models.artifact import read
from models.imagenet.classifier import classifier
from netrun.engines.onednn.executor import Executor
from netrun.engines.onednn.pack import KIND

pytestmark = pytest.mark.skipif(
    not (SHARED_DATA / "imagenet_val650").is_dir(),
    reason=f"no real weights and images in {SHARED_DATA} (set LOADRUN_SHARED_DATA)",
)
IMAGES = 200
"""Images that are served, the first of the 650; bench/accuracy serves all."""
FP32_OF_16 = 11
"""Right answers of mobilenet in fp32, of the first 16 images."""
SCORED = 32
"""Images whose outputs are compared, in batches of 8."""
# Right answers in fp32, of IMAGES.
FP32 = {"resnet50": 162, "mobilenet": 149}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    whole, folder = SHARED_DATA / "imagenet_val650", tmp_path_factory.mktemp("images")
    lines = (whole / "val_map.txt").read_text().splitlines()[:IMAGES]
    (folder / "val_map.txt").write_text("\n".join(lines) + "\n")
    for name in (line.split()[0] for line in lines):
        (folder / name).symlink_to(whole / name)
    return folder


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fifth of the calibration images, to spare time."""
    folder = tmp_path_factory.mktemp("calibration")
    for image in sorted((SHARED_DATA / "calibration200").glob("*.JPEG"))[::5]:
        (folder / image.name).symlink_to(image)
    return folder


def test_fp32_is_the_reference(
    cache: Path, images: Path, calibration: Path, tmp_path: Path
) -> None:
    # tests/models has both networks' accuracy in fp32: this is of the way there.
    model, options = "mobilenet", ["--mode", "AccuracyOnly", "--precision", "fp32"]
    options += ["--count", "16", "--instances", "1"]
    finished = loadrun(cache, tmp_path, model, *options, *real_data(model, images, calibration))
    assert finished.code == 0, finished.output
    assert abs(finished.record["accuracy"]["good"] - FP32_OF_16) <= 1
    assert finished.record["synthetic"] is False
    assert "synthetic" not in finished.output


@pytest.mark.parametrize("model", sorted(FP32))
def test_int8_is_about_as_accurate(
    cache: Path, images: Path, calibration: Path, tmp_path: Path, model: str
) -> None:
    finished = loadrun(
        cache, tmp_path, model, "--mode", "AccuracyOnly", *real_data(model, images, calibration)
    )
    assert finished.code == 0, finished.output
    lines = finished.output.rstrip().splitlines()
    assert re.fullmatch(rf"accuracy=\d+\.\d{{3}}%, good=\d+, total={IMAGES}", lines[-2])
    assert lines[-1] == "Completed"
    # MLPerf asks for 99% of fp32. With 200 images one standard deviation of this ratio is 1.4%:
    # the error of the outputs, below, tells far more than the count of right answers.
    assert finished.record["accuracy"]["good"] >= 0.97 * FP32[model]


@pytest.mark.parametrize(("model", "largest"), [("resnet50", 0.004), ("mobilenet", 0.004)])
def test_int8_outputs_follow_fp32(
    cache: Path, calibration: Path, model: str, largest: float
) -> None:
    network = classifier(model)
    weights = SHARED_DATA / "weights" / WEIGHTS[model]
    served = sorted((SHARED_DATA / "imagenet_val650").glob("*.JPEG"))[:SCORED]
    chosen = sorted(calibration.iterdir())
    samples = np.stack([network.preprocess(path) for path in served])
    artifact = ensure_artifact(
        model,
        weights,
        np.stack([network.preprocess(path) for path in chosen]),
        "int8",
        "onednn",
        batch_size=8,
        threads=1,
        cache=cache,
        progress=lambda done, total: None,
    )
    executor = Executor(read(artifact, KIND), 8, 1)
    batches = [range(i, i + 8) for i in range(0, SCORED, 8)]
    int8 = np.concatenate([executor.run(samples, batch).copy() for batch in batches])
    with torch.inference_mode():
        normalised = torch.from_numpy(network.sample.normalise(samples))
        fp32 = network.load_weights(weights)(normalised).numpy()
    signal = ((fp32 - fp32.mean(1, keepdims=True)) ** 2).mean()
    assert ((int8 - fp32) ** 2).mean() / signal < largest
