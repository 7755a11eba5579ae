"""From weights and calibration samples to the artifact that an engine executes, built once."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netrun.classifier import task_of
from netrun.engines import EngineError, registry
from netrun.engines.order import (
    Made,
    Notice,
    Order,
    Progress,
    unheard,
    unseen,
    weights_hash,
)

__all__ = ["build", "ensure_artifact", "weights_hash"]


def build(engine: str, order: Order) -> Path | None:
    """What `engine` executes of the order's task, found or built; None where it needs nothing.

    The path is that of the first part's file. Raises WeightsError for weights that do not fit,
    InputError for samples that cannot be calibrated on, EngineError where the engine cannot be used
    here or cannot execute the network.
    """
    registry.check(engine)
    return registry.engine_file(engine).build(order)


def ensure_artifact(
    model_name: str,
    weights: Path,
    calibration: NDArray[np.uint8] | None,
    precision: str,
    engine: str,
    batch_size: int,
    threads: int,
    cache: Path,
    progress: Progress,
    notice: Notice = print,
    made: Made = unseen,
    measuring: Progress = unheard,
    processors: Collection[int] = (),
) -> Path:
    """The artifact of a classification model, as `build`; `calibration` is uint8 (n, H, W, C)."""
    order = Order(
        task_of(model_name),
        weights,
        precision,
        batch_size,
        threads,
        cache,
        calibration=None if calibration is None else [{"image": row} for row in calibration],
        progress=progress,
        measuring=measuring,
        notice=notice,
        made=made,
        processors=processors,
    )
    path = build(engine, order)
    if path is None:
        raise EngineError(f"engine {engine} executes no artifact")
    return path
