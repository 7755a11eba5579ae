"""``python -m bench.accuracy --data DATA``: right answers of fp32 and int8 on the same images.

DATA holds weights, a folder of labelled validation images and one of calibration images. Besides
the counts of right answers (top 1 and top 5) it prints the squared error of the outputs in parts of
their variance, which tells two ways of quantising apart long before the counts do.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import models
from bench.data import CALIBRATION, VALIDATION, WEIGHTS, images
from models.artifact import read
from models.imagenet.labels import read_labels
from models.model import Model
from netrun.build import ensure_artifact
from netrun.engines.onednn.executor import Executor
from netrun.engines.onednn.pack import KIND

BATCH = 8


@dataclass(frozen=True)
class Row:
    """One model's figures; `error` is relative to the variance of fp32's outputs of an image."""

    model: str
    images: int
    fp32_top1: int
    fp32_top5: int
    int8_top1: int
    int8_top5: int
    error: float
    agreeing: int

    def line(self) -> str:
        """The figures as text."""
        return (
            f"{self.model:<10} {self.images} images  top 1: fp32 {self.fp32_top1}"
            f" int8 {self.int8_top1} (ratio {self.int8_top1 / self.fp32_top1:.4f})"
            f"  top 5: fp32 {self.fp32_top5} int8 {self.int8_top5}"
            f" (ratio {self.int8_top5 / self.fp32_top5:.4f})"
            f"  error {100 * self.error:.3f}%  same answer {self.agreeing}"
        )


def main() -> None:
    """Measure every model, print a line for each, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of weights and images")
    parser.add_argument("--models", nargs="+", default=["resnet50", "mobilenet"])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    cache = Path(os.environ.get("LOADRUN_CACHE", Path.home() / ".cache" / "loadrun"))
    rows = []
    for name in options.models:
        rows.append(measure(models.get(name), options.data, cache))
        print(rows[-1].line(), flush=True)
    if options.json is not None:
        options.json.write_text(
            json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8"
        )


def measure(model: Model, data: Path, cache: Path) -> Row:
    """fp32 by PyTorch, int8 by the `onednn` engine, over all labelled images."""
    weights = data / "weights" / WEIGHTS[model.name]
    folder = data / VALIDATION
    entries = read_labels(folder / "val_map.txt")
    samples = np.stack([model.preprocess(folder / name) for name, _ in entries])
    calibration = images(data, CALIBRATION)
    artifact = ensure_artifact(
        model.name,
        weights,
        np.stack([model.preprocess(path) for path in calibration]),
        "int8",
        "onednn",
        BATCH,
        threads=1,
        cache=cache,
        progress=lambda done, total: None,
    )
    executor = Executor(read(artifact, KIND), BATCH, threads=1)
    int8 = np.concatenate([executor.run(samples, p).copy() for p in _batches(len(samples))])
    network = model.load_weights(weights)
    with torch.inference_mode():
        fp32 = np.concatenate(
            [
                network(torch.from_numpy(model.sample.normalise(samples[p.start : p.stop]))).numpy()
                for p in _batches(len(samples))
            ]
        )
    # MobileNet's class 0 is the background.
    labels = np.array([label for _, label in entries]) + fp32.shape[1] - 1000
    spread = ((fp32 - fp32.mean(1, keepdims=True)) ** 2).sum()
    return Row(
        model.name,
        len(samples),
        *(_right(fp32, labels, 1), _right(fp32, labels, 5)),
        *(_right(int8, labels, 1), _right(int8, labels, 5)),
        float(((int8 - fp32) ** 2).sum() / spread),
        int((int8.argmax(1) == fp32.argmax(1)).sum()),
    )


def _batches(count: int) -> list[range]:
    return [range(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]


def _right(outputs: NDArray[np.float32], labels: NDArray[np.int64], most: int) -> int:
    """How many images have their label among the `most` largest outputs."""
    best = np.argsort(-outputs, axis=1)[:, :most]
    return int((best == labels[:, None]).any(1).sum())


if __name__ == "__main__":
    main()
