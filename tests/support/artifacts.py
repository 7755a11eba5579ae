"""Artifacts of classifiers, built and executed through the seam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import models
from models.batch import Samples
from models.imagenet.pictures import PIXELS
from netrun.config import NetrunConfig
from netrun.engines import registry
from netrun.engines.order import Order
from netrun.loading import load


def ensure_artifact(
    model: str,
    weights: Path,
    calibration: np.ndarray | None,
    precision: str,
    engine: str,
    batch_size: int,
    threads: int,
    cache: Path,
    **others: Any,
) -> Path:
    """What `engine` executes; `calibration` is uint8 [n, h, w, 3]."""
    samples = None if calibration is None else [{PIXELS: row} for row in calibration]
    task = models.get(model)
    order = Order(task, weights, precision, batch_size, threads, cache, samples, **others)
    path = registry.build(engine, order)
    assert path is not None
    return path


def answering(config: NetrunConfig) -> Callable[[np.ndarray, Sequence[int]], np.ndarray]:
    """What answers samples uint8 [n, h, w, 3] at some positions: int32 [positions]."""
    _, answer = load(config)

    def infer(samples: np.ndarray, positions: Sequence[int]) -> np.ndarray:
        batch = Samples([{PIXELS: samples[position]} for position in positions], list(positions))
        return np.array(answer(batch)).view(np.int32).reshape(-1)

    return infer
