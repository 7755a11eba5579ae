"""Builds what a run needs, once: ``python -m launch.assets CONFIG.json`` (see launch.building)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launch.building import COMPILING, SYNTHETIC, AssetsConfig, Notice, Progress, run

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
    """Name, checksum and origin of weights or of a data set."""

    name: str
    sha256: str
    synthetic: bool


@dataclass(frozen=True)
class Assets:
    """What was built: `samples` a .npy of uint8 samples, `artifact` None for engines without.

    `model` is the variant of the model that the weights are for (see models.for_weights). `notices`
    are what the user was told meanwhile; the process that builds leaves them to the one that reads
    its result.
    """

    model: str
    samples: str
    sample_count: int
    labels: list[int] | None
    data: DataFacts
    weights: DataFacts | None
    calibration: str | None
    artifact: str | None
    notices: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Assets:
        """Read a result file."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values["data"] = DataFacts(**values["data"])
        if values["weights"] is not None:
            values["weights"] = DataFacts(**values["weights"])
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
    samples = prepare_samples(model, dataset, cache, stage("preprocessing images"))
    artifact = calibration = weights = None
    if needs_artifact:
        weights_path = Path(config.weights) if config.weights else synthetic.weights  # type: ignore[union-attr]
        weights = DataFacts(weights_path.name, weights_hash(weights_path), config.weights is None)
        calibration_samples = None
        if config.precision == "int8":
            images = calibration_set(config, dataset, synthetic)
            calibration = images.name
            calibration_samples = prepare_samples(
                model, images, cache, stage("preprocessing calibration images")
            ).open()
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


def calibration_set(
    config: AssetsConfig, served: DataSet | None, synthetic: SyntheticAssets | None
) -> DataSet:
    """The images that int8 ranges are taken from, told apart by their content.

    Those that the user gave (all of a list), else with real weights the `served` ones, else
    synthetic ones.
    """
    from models.imagenet.dataset import image_folder, listed_images

    most = CALIBRATION_IMAGES
    if config.calibration is not None and Path(config.calibration).is_file():
        assert config.images is not None
        images = listed_images(Path(config.images), Path(config.calibration))
        most = len(images)
    elif config.calibration is not None:
        images = image_folder(Path(config.calibration))
    elif config.weights is not None:
        assert served is not None
        images = served
    else:
        assert synthetic is not None
        images, most = synthetic.calibration, SYNTHETIC_CALIBRATION_IMAGES
    return images.spread(most).by_content()


if __name__ == "__main__":
    sys.exit(run(build, sys.argv[1:]))
