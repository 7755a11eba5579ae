"""Building the synthetic images and weights, once, in the cache."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from base.errors import InputError
from base.files import folder_written_aside, locked, reserve, write_text, written_aside
from base.unchanged import file_digest, sha256_of
from models.imagenet.content import Content, content_of
from models.imagenet.dataset import DataSet, image_folder
from models.sample import Pixels, SampleFormat
from models.synthetic import images
from models.workers import Progress, for_each_chunk, silent

VERSION = 1
"""Changes with anything that changes the images or the weights."""
EVALUATION_COUNT = 1024
CALIBRATION_COUNT = 6 * images.CLASSES
FITTED_ON = {"resnet50": 4 * images.CLASSES, "mobilenet": 6 * images.CLASSES}
"""Calibration images that the weights are fitted on: resnet50's features need fewer."""
CHECKSUM = "sha256"
"""File beside the images: of what was drawn."""
FIT_COST = 8
"""Work of fitting the weights, per image, in units of drawing one."""

_log = logging.getLogger(__name__)


class Fitted(Protocol):
    """What a classifier's weights are fitted by."""

    @property
    def name(self) -> str:
        """The model's."""

    @property
    def sample(self) -> SampleFormat:
        """What a preprocessed image looks like."""

    @property
    def label_offset(self) -> int:
        """From an output to its class."""

    def preprocess(self, path: Path) -> Pixels:
        """Return the sample of an image file."""

    def network(self) -> Any:
        """Return the untrained network."""


@dataclass(frozen=True)
class SyntheticAssets:
    """What stands in for real weights and images."""

    weights: Path
    """A state dictionary, as torch.save writes it."""
    dataset: DataSet
    """The images to be evaluated."""
    calibration: DataSet
    """Other images of the same classes."""


def build(model: Fitted, cache_dir: Path, progress: Progress = silent) -> SyntheticAssets:
    """Return the model's synthetic assets, made first unless the cache holds them.

    The images are the same for all models. `progress` counts units of work, and only while there
    is any. Several processes may build at once: one does, the others wait for it. Raises
    InputError for a model that has no synthetic default.
    """
    if model.name not in FITTED_ON:
        raise InputError(f"{model.name} has no synthetic default: give weights and images")
    folder = cache_dir / "synthetic" / str(VERSION)
    weights = folder / f"{model.name}.pth"
    fitting = 0 if is_fitted(weights) else FIT_COST * FITTED_ON[model.name]
    evaluation, calibration = _images(cache_dir, lambda done, of: progress(done, of + fitting))
    of_images = EVALUATION_COUNT + CALIBRATION_COUNT
    # Found without a lock, so that a cache may be read-only.
    if fitting:
        with locked(weights):
            if not is_fitted(weights):
                _fit(
                    model,
                    calibration,
                    weights,
                    lambda n: progress(of_images + n * FIT_COST, of_images + fitting),
                )
    return SyntheticAssets(weights, evaluation, calibration)


def _images(cache_dir: Path, progress: Progress) -> tuple[DataSet, DataSet]:
    """Return the images to be evaluated and those to fit and calibrate with."""
    target = cache_dir / "synthetic" / str(VERSION) / "images"
    # Found without a lock, so that a cache may be read-only.
    if (found := drawn(target, cache_dir)) is not None:
        return found
    with locked(target):
        if (found := drawn(target, cache_dir)) is not None:
            return found
        if target.exists():
            _log.warning("%s: synthetic images are damaged, drawing them again", target)
            shutil.rmtree(target)
        with folder_written_aside(target) as aside:
            _draw(aside, progress)
            new = [(s, Content([file_digest(f) for f in s.files])) for s in _data_sets(aside)]
            write_text(aside / CHECKSUM, _checksum(new))
        return _data_sets(target)


def drawn(folder: Path, cache_dir: Path) -> tuple[DataSet, DataSet] | None:
    """Return the images where all are there, and are what was drawn."""
    try:
        written = (folder / CHECKSUM).read_text(encoding="utf-8")
        sets = _data_sets(folder)
    except (OSError, ValueError, InputError):
        return None
    found = [(part, content_of(part, cache_dir)) for part in sets]
    return sets if _checksum(found) == written else None


def _data_sets(folder: Path) -> tuple[DataSet, DataSet]:
    evaluation, calibration = (
        replace(image_folder(folder / part, synthetic=True), name=f"synthetic {part}")
        for part in ("evaluation", "calibration")
    )
    return evaluation, calibration


def _checksum(sets: Sequence[tuple[DataSet, Content]]) -> str:
    return " ".join(content.with_labels(part.labels) for part, content in sets)


def is_fitted(weights: Path) -> bool:
    """Whether a weights file is there, and is what was fitted."""
    try:
        return sha256_of(weights) == _beside(weights).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def _beside(weights: Path) -> Path:
    return weights.with_suffix(".sha256")


def _draw(folder: Path, progress: Progress) -> None:
    """Fill the folders evaluation and calibration; no image of one is in the other."""
    seeds = itertools.count()
    drawings: list[tuple[Path, int, int]] = []
    for part, count in (("evaluation", EVALUATION_COUNT), ("calibration", CALIBRATION_COUNT)):
        (folder / part).mkdir()
        lines = []
        for i in range(count):
            kind = i % images.CLASSES
            name = f"synthetic_{part}_{i:08d}.JPEG"
            drawings.append((folder / part / name, kind, next(seeds)))
            lines.append(f"{name} {images.label(kind)}\n")
        (folder / part / "val_map.txt").write_text("".join(lines), encoding="utf-8")
    for_each_chunk(images.write, drawings, progress)


def _fit(model: Fitted, fit_on: DataSet, target: Path, step: Callable[[int], None]) -> None:
    """Fit the model's weights on labelled images and write them."""
    import torch

    from models.synthetic.weights import FITS

    assert fit_on.labels is not None
    count = FITTED_ON[model.name]
    samples = np.stack([model.preprocess(file) for file in fit_on.files[:count]])
    inputs = torch.from_numpy(model.sample.normalise(samples))
    outputs = [label - model.label_offset for label in fit_on.labels[:count]]
    network = model.network()
    with torch.no_grad():
        FITS[model.name](network, inputs, outputs, step)
    state = network.state_dict()
    with written_aside(target) as aside:
        # torch says nothing that a person could use where there is no room.
        reserve(aside, sum(tensor.nbytes for tensor in state.values()), target)
        torch.save(state, aside)
        digest = file_digest(aside).hex()
    write_text(_beside(target), digest)
