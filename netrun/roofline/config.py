"""What one measurement needs to know, as data: written by launch, read once at start."""

from __future__ import annotations

from dataclasses import dataclass

from base.configs import Config


@dataclass(frozen=True)
class RooflineConfig(Config):
    """Measure `artifact` on `processors`, one thread on each, for about `seconds`.

    `samples` is a folder of prepared samples; `result` the JSON file to write. `volumes`: the
    artifact is a program over volumes, of which one window is measured.
    """

    artifact: str
    samples: str
    batch_size: int
    processors: list[int]
    seconds: float
    result: str
    volumes: bool = False
