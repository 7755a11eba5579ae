"""Where things that are built once are kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def cache_directory(environment: Mapping[str, str] | None = None) -> Path:
    """LOADRUN_CACHE, else XDG_CACHE_HOME/loadrun, else ~/.cache/loadrun."""
    source = os.environ if environment is None else environment
    if chosen := source.get("LOADRUN_CACHE"):
        return Path(chosen).absolute()
    if base := source.get("XDG_CACHE_HOME"):
        return Path(base).absolute() / "loadrun"
    return Path.home() / ".cache" / "loadrun"
