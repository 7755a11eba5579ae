"""What one measurement needs to know, as data: written by launch, read once at start."""

from __future__ import annotations

from dataclasses import dataclass

from base.configs import Config
from models.task import ENCODER, NETWORK, RANKING, VOLUMES

FORMS = (NETWORK, ENCODER, VOLUMES, RANKING)
"""Forms of networks whose kernels can be measured one by one."""


@dataclass(frozen=True)
class RooflineConfig(Config):
    """Measure `artifact` on `processors`, one thread on each, for about `seconds`.

    `samples` is a folder of prepared samples; `result` the JSON file to write. `form` is that of
    the network (`models.task.Part`), one of FORMS: of one over volumes a window is measured.
    """

    artifact: str
    samples: str
    batch_size: int
    processors: list[int]
    seconds: float
    result: str
    form: str = NETWORK
