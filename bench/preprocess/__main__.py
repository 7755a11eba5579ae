"""``python -m bench.preprocess --data DIR``: preprocessing on one core against a plain Pillow loop.

The plain loop opens, converts to RGB, scales and crops with Pillow: what one would write at first.
Both run on one core, by turns; ratios are medians of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.parts.figures import show, spread, write_json
from models.imagenet.classifier import classifier, classifiers
from models.imagenet.preprocess import SHORT_SIDE, SIZE, scaled_size


def plain(path: Path) -> np.ndarray:
    """Preprocess an image the plain way; returns uint8 [224, 224, 3]."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    image = image.resize(
        scaled_size(image.width, image.height, SHORT_SIDE), Image.Resampling.BILINEAR
    )
    left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
    return np.asarray(image.crop((left, top, left + SIZE, top + SIZE)))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with calibration200")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where to write all rounds")
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    images = sorted((options.data / "calibration200").glob("*.JPEG"))
    contestants: dict[str, Callable[[Path], np.ndarray]] = {"plain Pillow loop": plain}
    contestants |= {f"loadrun {name}": classifier(name).preprocess for name in classifiers()}
    rounds: list[dict[str, Any]] = []
    for number in range(options.rounds):
        for name, work in contestants.items():
            began = time.perf_counter()
            for image in images:
                work(image)
            rate = len(images) / (time.perf_counter() - began)
            rounds.append({"round": number, "name": name, "rate": rate})
    write_json(options.json, rounds)
    base = [x["rate"] for x in rounds if x["name"] == "plain Pillow loop"]
    rows = []
    for name in contestants:
        mine = [x for x in rounds if x["name"] == name]
        ratio = statistics.median(x["rate"] / b for x, b in zip(mine, base, strict=True))
        rows.append([name, spread(mine, "rate"), ratio])
    columns = ["", "images/s on one core", "of the plain loop"]
    show(f"{len(images)} full-size images", columns, rows)


if __name__ == "__main__":
    main()
