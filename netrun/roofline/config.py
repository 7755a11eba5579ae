"""What one measurement needs to know, as data: written by launch, read once at start."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class RooflineConfig:
    """Measure `artifact` on `processors`, one thread on each, for about `seconds`.

    `samples` is a .npy of uint8 samples (n, H, W, C); `result` the JSON file to write.
    """

    artifact: str
    samples: str
    batch_size: int
    processors: list[int]
    seconds: float
    result: str

    def to_json(self) -> str:
        """The configuration as JSON text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def load(cls, path: Path) -> RooflineConfig:
        """Read what `to_json` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))
