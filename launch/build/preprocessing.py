"""Preprocesses a data set, once: ``python -m launch.build.preprocessing CONFIG.json``.

Builds exactly what a run with the same images and labels looks for.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.build.assets import DataFacts, announce_data, variant
from launch.build.building import AssetsConfig, Notice, Progress, run


@dataclass(frozen=True)
class Preprocessed:
    """The samples: their file, their number, how many were made now, and whence they come."""

    path: str
    count: int
    made: int
    images: DataFacts

    @classmethod
    def load(cls, path: Path) -> Preprocessed:
        """Read a result file."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values["images"] = DataFacts(**values["images"])
        return cls(**values)


def preprocess(config: AssetsConfig, progress: Progress, notice: Notice) -> Preprocessed:
    """Preprocess what is not there yet. Raises InputError for what the user gave."""
    from models.imagenet.dataset import image_folder
    from models.imagenet.samples import prepare_samples

    began: list[int] = []

    def tell(done: int, total: int) -> None:
        began.append(done)
        progress("preprocessing images", done, total)

    def reading(done: int, total: int) -> None:
        progress("reading images", done, total)

    assert config.images is not None
    labels = Path(config.labels) if config.labels else None
    dataset = image_folder(Path(config.images), labels)
    announce_data(dataset, notice)
    samples = prepare_samples(variant(config, notice), dataset, Path(config.cache), tell, reading)
    return Preprocessed(
        path=str(samples.path),
        count=samples.count,
        made=samples.count - began[0] if began else 0,
        images=DataFacts(samples.name, samples.sha256, samples.synthetic),
    )


if __name__ == "__main__":
    sys.exit(run(preprocess, sys.argv[1:]))
