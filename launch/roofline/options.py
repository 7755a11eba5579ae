"""What the user asked of a roofline, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import models
from launch.build.cache import expanded
from launch.options import Sources

STANDARD_OUTPUT = "-"


@dataclass(frozen=True)
class RooflineOptions:
    """One measurement as the user asked for it; `sizes`: the times of batch sizes instead of it.

    `picture` and `json` None go to their default places below `results`; `json` may be "-".
    """

    model: str
    sources: Sources
    batch_size: int
    cores: int
    seconds: float
    sizes: bool
    results: Path
    picture: Path | None
    json: str | None
    command: tuple[str, ...]
    engine: str = "onednn"
    precision: str = "int8"

    @property
    def form(self) -> str:
        """The form of the network."""
        first, *_ = models.get(self.model).parts
        return first.form

    @property
    def json_on_stdout(self) -> bool:
        """Whether standard output is for JSON alone."""
        return self.json == STANDARD_OUTPUT

    @property
    def picture_path(self) -> Path:
        """Where the picture goes."""
        return self.picture or self._default(".svg")

    @property
    def json_path(self) -> Path:
        """Where the JSON file goes."""
        if self.json is not None:
            return expanded(self.json, "--json")
        return self._default(".json")

    def _default(self, ending: str) -> Path:
        return self.results / "roofline" / f"{self.model}{'-sizes' * self.sizes}{ending}"
