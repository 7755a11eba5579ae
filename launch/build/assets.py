"""Builds what a run needs, once: ``python -m launch.build.assets CONFIG.json`` (see launch.build.building)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launch.build.building import COMPILING, SYNTHETIC, AssetsConfig, Notice, Progress, run

if TYPE_CHECKING:
    from models.imagenet.dataset import DataSet
    from models.model import Model
    from models.synthetic import SyntheticAssets

CALIBRATION_IMAGES = 200
"""Images at most that int8 ranges are taken from, spread evenly over the calibration set."""
SYNTHETIC_CALIBRATION_IMAGES = 32
"""The same of the synthetic images, which are more alike."""

MEASURING = "measuring batch sizes"
"""The stage in which a compiler measures."""
WITHOUT_ARTIFACT = ("null", "sim")
"""Engines that compute nothing."""


@dataclass(frozen=True)
class DataFacts:
    """Name, checksum of the content and origin of weights or of a data set."""

    name: str
    sha256: str
    synthetic: bool


@dataclass(frozen=True)
class Assets:
    """What was built: `samples` a .npy of uint8 samples, `artifact` None for engines without.

    `labels_from` says where the labels come from, or why there are none, with the cure. `model` is
    the variant of the model that the weights are for (see models.for_weights). `notices` are what
    the user was told meanwhile; the process that builds leaves them to the one that reads its
    result.
    """

    model: str
    samples: str
    sample_count: int
    labels: list[int] | None
    labels_from: str
    data: DataFacts
    weights: DataFacts | None
    calibration: DataFacts | None
    artifact: str | None
    notices: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Assets:
        """Read a result file."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values["data"] = DataFacts(**values["data"])
        for name in ("weights", "calibration"):
            if values[name] is not None:
                values[name] = DataFacts(**values[name])
        return cls(**values)


def build(config: AssetsConfig, progress: Progress, notice: Notice) -> Assets:
    """Build or find everything; `notice` is told what the user should know.

    Raises InputError for what the user gave, EngineError for an engine that cannot be used.
    """
    from models.imagenet.dataset import image_folder
    from models.imagenet.samples import prepare_samples
    from models.synthetic import build as build_synthetic
    from netrun.build import ensure_artifact, weights_hash

    def stage(name: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(name, done, total)

    model = variant(config, notice)
    cache = Path(config.cache)
    needs_artifact = config.engine not in WITHOUT_ARTIFACT
    synthetic = None
    if config.images is None or (needs_artifact and config.weights is None):
        synthetic = build_synthetic(model, cache, stage(SYNTHETIC))
    if config.images is not None:
        labels = Path(config.labels) if config.labels else None
        dataset = image_folder(Path(config.images), labels)
    else:
        assert synthetic is not None
        dataset = synthetic.dataset
    announce_data(dataset, notice)
    reading = stage("reading images")
    samples = prepare_samples(model, dataset, cache, stage("preprocessing images"), reading)
    artifact = calibration = weights = None
    if needs_artifact:
        weights_path = Path(config.weights) if config.weights else synthetic.weights  # type: ignore[union-attr]
        weights = DataFacts(weights_path.name, weights_hash(weights_path), config.weights is None)
        calibration_samples = None
        if config.precision == "int8":
            images = calibration_set(config, dataset, synthetic)
            announce_calibration(config, images, notice)
            prepared = prepare_samples(
                model, images, cache, stage("preprocessing calibration images"), reading
            )
            calibration = DataFacts(prepared.name, prepared.images_sha256, prepared.synthetic)
            calibration_samples = prepared.open()
        artifact = ensure_artifact(
            model.name,
            weights_path,
            calibration_samples,
            config.precision,
            config.engine,
            config.batch_size,
            config.threads,
            cache,
            stage(COMPILING),
            notice,
            measuring=stage(MEASURING),
            processors=config.processors,
        )
    return Assets(
        model=model.name,
        samples=str(samples.path),
        sample_count=samples.count,
        labels=samples.labels,
        labels_from=dataset.labels_from,
        data=DataFacts(samples.name, samples.sha256, samples.synthetic),
        weights=weights,
        calibration=calibration,
        artifact=str(artifact) if artifact else None,
    )


def variant(config: AssetsConfig, notice: Notice) -> Model:
    """The model as the given weights want it; `notice` is told where that is not the usual one."""
    import models

    model = models.get(config.model)
    if config.weights is None:
        return model
    fitting = models.for_weights(model, Path(config.weights))
    if fitting.name != model.name:
        notice(
            f"the weights are TensorFlow's ({fitting.classes} outputs): images are preprocessed for"
            f" them as {fitting.preprocessing}"
        )
    return fitting


def announce_data(dataset: DataSet, notice: Notice) -> None:
    """Say where the labels of the user's images come from, and which images are not served."""
    if not dataset.synthetic:
        notice(f"{'no ' if dataset.labels is None else ''}labels: {dataset.labels_from}")
        for note in dataset.notes:
            notice(note)


def announce_calibration(config: AssetsConfig, images: DataSet, notice: Notice) -> None:
    """Say which of the user's calibration images are left out."""
    if config.calibration is not None:
        for note in images.notes:
            notice(f"calibration: {note}")


def calibration_set(
    config: AssetsConfig, served: DataSet | None, synthetic: SyntheticAssets | None
) -> DataSet:
    """The images that int8 ranges are taken from.

    Those that the user gave (all of a list), else with real weights the `served` ones, else
    synthetic ones.
    """
    if config.calibration is not None:
        images = Path(config.images) if config.images is not None else None
        return given_calibration(images, Path(config.calibration))
    if config.weights is not None:
        assert served is not None
        return served.spread(CALIBRATION_IMAGES)
    assert synthetic is not None
    return synthetic.calibration.spread(SYNTHETIC_CALIBRATION_IMAGES)


def given_calibration(images: Path | None, calibration: Path) -> DataSet:
    """The calibration images that the user gave: all of a list, or some of a folder."""
    from models.imagenet.dataset import image_folder, listed_images

    if calibration.is_file():
        assert images is not None
        return listed_images(images, calibration)
    return image_folder(calibration).spread(CALIBRATION_IMAGES)


if __name__ == "__main__":
    sys.exit(run(build, sys.argv[1:]))
