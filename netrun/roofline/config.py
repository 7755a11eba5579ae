"""What one measurement needs to know, as data: written by launch, read once at start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from base.configs import Config
from models.task import ENCODER, NETWORK, RANKING, TRANSDUCER, VOLUMES, Part

OF_ONE_PART = (NETWORK, ENCODER, VOLUMES, RANKING)


def measurable(parts: Sequence[Part]) -> bool:
    """Whether the kernels of a task's networks can be measured one by one."""
    forms = {part.form for part in parts}
    return forms == {TRANSDUCER} or (len(parts) == 1 and forms <= {*OF_ONE_PART})


@dataclass(frozen=True)
class RooflineConfig(Config):
    """Measure `artifact` of `model` on `processors`, one thread on each, for about `seconds`.

    `samples` is a folder of prepared samples; `result` the JSON file to write. Of a network over
    volumes one window is measured.
    """

    model: str
    artifact: str
    samples: str
    batch_size: int
    processors: list[int]
    seconds: float
    result: str
