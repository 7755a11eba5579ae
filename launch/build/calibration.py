"""Calibrates a model for int8, once: ``python -m launch.build.calibration CONFIG.json``.

Builds exactly what a run with the same weights and calibration images looks for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.build.assets import MEASURING, DataFacts, announce_calibration, calibration_set, variant
from launch.build.building import COMPILING, SYNTHETIC, AssetsConfig, Notice, Progress, run


@dataclass(frozen=True)
class CacheFile:
    """A file of the cache: `path`, and whether it was built now or found."""

    path: str
    built: bool

    @property
    def key(self) -> str:
        """The end of its name: a hash of everything that shaped it."""
        return self.path.rpartition("-")[2]


@dataclass(frozen=True)
class Calibration:
    """What was built or found: the int8 `program`, and what an engine made of it, if anything."""

    program: CacheFile
    artifact: CacheFile | None
    weights: DataFacts
    images: DataFacts
    image_count: int

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read a result file."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        artifact = values["artifact"]
        return cls(
            program=CacheFile(**values["program"]),
            artifact=CacheFile(**artifact) if artifact else None,
            weights=DataFacts(**values["weights"]),
            images=DataFacts(**values["images"]),
            image_count=values["image_count"],
        )


def calibrate(config: AssetsConfig, progress: Progress, notice: Notice) -> Calibration:
    """Calibrate and compile, or find it done.

    Raises InputError for what the user gave, EngineError for an engine that cannot be used.
    """
    from models.imagenet.samples import prepare_samples
    from models.synthetic import build as build_synthetic
    from netrun.build import ensure_artifact, weights_hash

    def stage(name: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(name, done, total)

    model = variant(config, notice)
    cache = Path(config.cache)
    synthetic = None
    if config.weights is None or config.calibration is None:
        synthetic = build_synthetic(model, cache, stage(SYNTHETIC))
    images = calibration_set(config, None, synthetic)
    announce_calibration(config, images, notice)
    samples = prepare_samples(
        model,
        images,
        cache,
        stage("preprocessing calibration images"),
        stage("reading images"),
    )
    weights = Path(config.weights) if config.weights else synthetic.weights  # type: ignore[union-attr]
    files: list[CacheFile] = []
    ensure_artifact(
        model.name,
        weights,
        samples.open(),
        "int8",
        config.engine,
        config.batch_size,
        config.threads,
        cache,
        stage(COMPILING),
        notice,
        lambda path, built: files.append(CacheFile(str(path), built)),
        measuring=stage(MEASURING),
        processors=config.processors,
    )
    program, *artifacts = files
    return Calibration(
        program=program,
        artifact=artifacts[0] if artifacts else None,
        weights=DataFacts(weights.name, weights_hash(weights), config.weights is None),
        images=DataFacts(samples.name, samples.images_sha256, samples.synthetic),
        image_count=len(images),
    )


if __name__ == "__main__":
    sys.exit(run(calibrate, sys.argv[1:]))
