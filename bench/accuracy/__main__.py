"""``python -m bench.accuracy --data DATA``: right answers of every engine on the same images.

DATA holds weights, a folder of labelled validation images and one of calibration images. Besides
the counts of right answers (top 1 and top 5) it prints the squared error of the outputs in parts of
their variance, which separates two ways of quantising long before the counts do. Both are
against fp32 by PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data import CALIBRATION, VALIDATION, WEIGHTS, images
from bench.engines.contestants import Contestant, contestants
from models.imagenet.classifier import classifier
from models.imagenet.labels import read_labels
from models.task import Task
from netrun.engines import PRECISIONS, registry
from netrun.engines.engine import Answering, EngineSpec
from netrun.engines.order import Order

BATCH = 8
REFERENCE = Contestant("pytorch", "fp32")


@dataclass(frozen=True)
class Row:
    """One engine's figures; `error` is relative to the variance of fp32's outputs of an image."""

    model: str
    engine: str
    images: int
    top1: int
    top5: int
    ratio: float
    error: float
    agreeing: int

    def line(self) -> str:
        """The figures as text."""
        return (
            f"{self.model:<10} {self.engine:<16} {self.images} images  top 1: {self.top1}"
            f" (fp32's times {self.ratio:.4f})  top 5: {self.top5}"
            f"  error {100 * self.error:.3f}%  same answer {self.agreeing}"
        )


def main() -> None:
    """Measure every engine that is installed, print a line for each, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of weights and images")
    parser.add_argument("--models", nargs="+", default=["resnet50", "mobilenet"])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["int8"])
    parser.add_argument("--only", nargs="+", help="engines whose name contains one of these")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    cache = Path(os.environ.get("LOADRUN_CACHE", Path.home() / ".cache" / "loadrun"))
    chosen = [
        contestant
        for contestant in contestants(options.precisions)
        if options.only is None or any(part in str(contestant) for part in options.only)
    ]
    rows = []
    for name in options.models:
        for row in measure(name, options.data, cache, chosen):
            rows.append(row)
            print(row.line(), flush=True)
    if options.json is not None:
        options.json.write_text(
            json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8"
        )


def measure(name: str, data: Path, cache: Path, chosen: list[Contestant]) -> Iterator[Row]:
    """PyTorch's fp32 and the chosen engines, over all labelled images."""
    model, task = classifier(name), classifier(name)
    folder = data / VALIDATION
    entries = read_labels(folder / "val_map.txt")
    samples = np.stack([model.preprocess(folder / file) for file, _ in entries])
    calibration = np.stack([model.preprocess(path) for path in images(data, CALIBRATION)])
    weights = data / "weights" / WEIGHTS[name]
    # MobileNet's class 0 is the background.
    labels = np.array([label for _, label in entries]) + model.classes - 1000
    exact = outputs(REFERENCE, task, weights, calibration, cache, samples)
    spread = ((exact - exact.mean(1, keepdims=True)) ** 2).sum()
    right = _right(exact, labels, 1)
    for contestant in dict.fromkeys([REFERENCE, *chosen]):
        found = outputs(contestant, task, weights, calibration, cache, samples)
        yield Row(
            name,
            str(contestant),
            len(samples),
            _right(found, labels, 1),
            _right(found, labels, 5),
            _right(found, labels, 1) / right,
            float(((found - exact) ** 2).sum() / spread),
            int((found.argmax(1) == exact.argmax(1)).sum()),
        )


def outputs(
    contestant: Contestant,
    task: Task,
    weights: Path,
    calibration: NDArray[np.uint8],
    cache: Path,
    samples: NDArray[np.uint8],
) -> NDArray[np.float32]:
    """Return an engine's logits of `samples`, float32 [n, classes].

    `samples` and `calibration`, which int8 ranges come from, are uint8 [n, h, w, 3].
    """
    (part,) = task.parts
    (pixels,), (logits,) = part.inputs, part.outputs
    order = Order(
        *(task, weights, contestant.precision, BATCH, 1, cache),
        calibration=[{pixels.name: row} for row in calibration],
    )
    path = registry.build(contestant.engine, order)
    assert path is not None, "it computes"
    spec = EngineSpec(task, contestant.precision, path, BATCH, 1)
    engine = registry.load(contestant.engine, spec)
    assert not isinstance(engine, Answering)
    run = engine.part(part.name)
    batches = [samples[start : start + BATCH] for start in range(0, len(samples), BATCH)]
    return np.concatenate([run(**{pixels.name: rows})[logits.name].copy() for rows in batches])


def _right(outputs: NDArray[np.float32], labels: NDArray[np.int64], most: int) -> int:
    """Count images with their label among the `most` largest of `outputs`, float32 [n, classes]."""
    best = np.argsort(-outputs, axis=1)[:, :most]
    return int((best == labels[:, None]).any(1).sum())


if __name__ == "__main__":
    main()
