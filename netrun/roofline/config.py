"""What one measurement needs to know, as data: written by launch, read once at start."""

from __future__ import annotations

from dataclasses import dataclass

from base.configs import Config


@dataclass(frozen=True)
class RooflineConfig(Config):
    """Measure `artifact` on `processors`, one thread on each, for about `seconds`.

    `samples` is a .npy of uint8 samples (n, H, W, C); `result` the JSON file to write.
    """

    artifact: str
    samples: str
    batch_size: int
    processors: list[int]
    seconds: float
    result: str
