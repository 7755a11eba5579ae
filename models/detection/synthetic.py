"""The embedded default of the detectors: drawn images, seeded weights, and as truth what they find.

Nothing has to be downloaded. The network is the full-size one, so that its speed is that of trained
weights. Its own confident detections in fp32 are the truth, computed once when they are asked for:
the accuracy of another precision is how faithfully it repeats them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from base.files import locked, written_aside
from models.detection.answers import Detections
from models.detection.data import Judged
from models.sample import Pixels, SampleFormat
from models.task import Array, Field, Sources
from models.workers import Progress, silent

if TYPE_CHECKING:
    from torch import nn

    from models.detection.detector import Detector

VERSION = 1
"""Changes with anything that changes images, weights or truth."""
LARGE = 512 * 512
"""Pixels of images that the network takes seconds for: of them there are fewer."""
COUNT, CALIBRATION, FITTED_ON = (64, 16), (16, 8), (8, 2)
"""Images to be evaluated, to be calibrated on, and that the channels' statistics are taken from:
of small ones, and of large ones."""
SURE = 0.5
"""Score of the detections that are the truth."""
SHAPES = 24


@dataclass(frozen=True)
class SyntheticImages(Judged):
    """Drawn images; `first` is the seed of the first one."""

    task: Detector
    count: int
    first: int
    weights: Path | None
    """Whose detections are the truth; None: the seeded ones."""
    cache: Path | None
    synthetic: bool = True

    @property
    def name(self) -> str:
        """What they are."""
        return "synthetic images"

    @cached_property
    def sha256(self) -> str:
        """Of what shapes images and truth."""
        facts = [VERSION, self.task.name, self.count, self.first]
        digest = hashlib.sha256(json.dumps(facts).encode())
        if self.weights is not None:
            with self.weights.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    @property
    def fields(self) -> tuple[Field, ...]:
        """Pixels with their border."""
        return (Field("image", "|u1", self.task.sample.shape),)

    @property
    def preparation(self) -> str:
        """Drawn at the size of the samples."""
        return f"{self.task.preprocessing}-drawn-{VERSION}"

    @property
    def notes(self) -> Sequence[str]:
        """Nothing is left out."""
        return ()

    @property
    def truth(self) -> str:
        """The network's own."""
        return "what the network finds in float32"

    @property
    def scored(self) -> bool:
        """Always."""
        return True

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Mapping[str, Array]:
        """Draw one image."""
        return {"image": self.task.sample.bordered(draw(self.task.sample, self.first + index))}

    def cost(self, sample: Mapping[str, Array]) -> float:
        """All are the same work."""
        return 1.0

    @property
    def image_ids(self) -> Sequence[int]:
        """One after the other."""
        return range(1, self.count + 1)

    @cached_property
    def categories(self) -> Sequence[int]:
        """All that the network tells apart."""
        labels = self.task.labels
        return tuple(sorted(labels.ids)) or tuple(range(1, labels.count + 1))

    def annotations_of(self, indices: Sequence[int]) -> dict[str, Any]:
        """What the network finds in fp32 and is sure of."""
        size = {"height": self.task.sample.height, "width": self.task.sample.width}
        found = self._found(indices)
        objects: list[dict[str, Any]] = []
        for index in indices:
            for left, top, right, bottom, score, label in found[index]:
                if score > SURE:
                    box = [left * size["width"], top * size["height"]]
                    box += [(right - left) * size["width"], (bottom - top) * size["height"]]
                    objects.append(
                        {
                            "id": len(objects) + 1,
                            "image_id": self.image_ids[index],
                            "category_id": self.task.labels.category(int(label), self.categories),
                            "bbox": [float(value) for value in box],
                            "area": float(box[2] * box[3]),
                            "iscrowd": 0,
                        }
                    )
        return {
            "images": [{"id": self.image_ids[index], **size} for index in indices],
            "categories": [{"id": category} for category in self.categories],
            "annotations": objects,
        }

    def find(self, progress: Progress) -> None:
        """Have the truth in the cache, for all images."""
        self._found(range(self.count), progress)

    def _found(self, indices: Sequence[int], progress: Progress = silent) -> dict[int, Array]:
        """Rows of box, score and label for each image, from the cache where they are there."""
        paths: dict[int, Path] = {}
        found: dict[int, Array] = {}
        if self.cache is not None:
            folder = self.cache / "detection" / f"{self.task.name}-{self.sha256[:16]}"
            paths = {index: folder / f"{index}.npy" for index in indices}
            for index, path in paths.items():
                if path.is_file():
                    found[index] = np.load(path, allow_pickle=False)
        missing = [index for index in indices if index not in found]
        if missing:
            network = self.task.graph("network", self._weights())
            for done, index in enumerate(missing):
                progress(done, len(missing))
                made = infer_float(self.task, network, self.read(index)["image"])
                rows = np.column_stack([made.boxes, made.scores, made.labels])
                found[index] = rows.astype(np.float32)
                if index in paths:
                    paths[index].parent.mkdir(parents=True, exist_ok=True)
                    with written_aside(paths[index]) as aside, aside.open("wb") as file:
                        np.save(file, found[index])
            progress(len(missing), len(missing))
        return found

    def _weights(self) -> Path | None:
        if self.weights is not None or self.cache is None:
            return self.weights
        return seeded_weights(self.task, self.cache)


def synthetic_data(task: Detector, sources: Sources) -> SyntheticImages:
    """The images to be evaluated."""
    return SyntheticImages(task, COUNT[_large(task)], 0, sources.weights, sources.cache)


def synthetic_calibration(task: Detector, sources: Sources) -> SyntheticImages:
    """Other images of the same kind, to calibrate on."""
    large = _large(task)
    first = COUNT[large]
    return SyntheticImages(task, CALIBRATION[large], first, sources.weights, sources.cache)


def _large(task: Detector) -> bool:
    return task.sample.height * task.sample.width > LARGE


def seeded_weights(task: Detector, cache: Path) -> Path:
    """The file of the seeded weights in a cache, made first unless it is there."""
    import torch

    path = cache / "detection" / f"{task.name}-seeded-{VERSION}.pth"
    if not path.is_file():
        with locked(path):
            if not path.is_file():
                state = seeded_network(task).state_dict()
                with written_aside(path) as aside:
                    torch.save(state, aside)
    return path


def seeded_network(task: Detector) -> nn.Module:
    """The task's network with seeded weights, in evaluation mode."""
    import torch

    from models.detection.seeding import seed

    network = task.network().eval()
    large = _large(task)
    first = COUNT[large] + CALIBRATION[large]
    seeds = range(first, first + FITTED_ON[large])
    pixels = [task.sample.bordered(draw(task.sample, number)) for number in seeds]
    images = torch.from_numpy(task.sample.normalise(np.stack(pixels)))
    seed(network, task.heads(), task.branches, images)
    return network


def infer_float(task: Detector, network: nn.Module, image: Pixels) -> Detections:
    """What a network over pixels finds in one sample."""
    import torch

    with torch.inference_mode():
        outputs = network(torch.from_numpy(image[None]))
    names = [output.name for output in task.parts[0].outputs]
    arrays = [np.ascontiguousarray(output[0].float().numpy()) for output in outputs]
    return task.detections(dict(zip(names, arrays, strict=True)))


def draw(sample: SampleFormat, seed: int) -> Pixels:
    """One image uint8 [height, width, 3]: a shaded ground with patterned shapes of all sizes."""
    rng = np.random.default_rng((VERSION, seed))
    height, width = sample.height, sample.width
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(max(height, width))
    picture = np.empty((height, width, 3), np.float32)
    tilt = rng.uniform(-1, 1, (2, 3)).astype(np.float32)
    picture[:] = rng.uniform(40, 215, 3) + 60 * (x[..., None] * tilt[0] + y[..., None] * tilt[1])
    for _ in range(SHAPES):
        _paint(picture, x, y, rng)
    picture += rng.normal(0, 5, (height, width, 1)).astype(np.float32)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _paint(picture: Array, x: Array, y: Array, rng: np.random.Generator) -> None:
    """Paint a rectangle or an ellipse, striped in two colours."""
    extent = 0.5 * np.exp(rng.uniform(np.log(0.03), np.log(0.5)))
    across = extent * np.exp(rng.uniform(-0.5, 0.5))
    centre = rng.uniform(0, 1, 2)
    u = (x - np.float32(centre[0])) / np.float32(across)
    v = (y - np.float32(centre[1])) / np.float32(extent)
    ellipse = rng.random() < 0.5
    inside = u * u + v * v < 1 if ellipse else (np.abs(u) < 1) & (np.abs(v) < 1)
    rows = np.flatnonzero(inside.any(1))
    columns = np.flatnonzero(inside.any(0))
    if not len(rows):
        return
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    turn, period = rng.uniform(0, np.pi), rng.uniform(0.05, 0.5)
    wave = np.sin((np.cos(turn) * u[box] + np.sin(turn) * v[box]) / np.float32(period))
    share = np.clip(0.5 + 1.5 * wave, 0, 1)[..., None]
    one, other = rng.uniform(0, 255, (2, 3))
    inner = inside[box]
    painted = one + (other - one) * share
    picture[box][inner] = painted[inner]
