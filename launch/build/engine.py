"""Whether an engine can be used here, found out before anything is built for it."""

from __future__ import annotations

from base.errors import InputError
from netrun.engines.onednn.library import OneDNNError, find_library


def check_engine(engine: str) -> None:
    """Raise InputError, with the cure, where the engine's library is not installed."""
    if engine != "onednn":
        return
    try:
        find_library()
    except OneDNNError as error:
        raise InputError(f"--engine onednn: {error}") from None
