"""Whether an engine can be used here, found out before anything is built for it."""

from __future__ import annotations

from base.errors import InputError
from netrun.engines import EngineError, registry


def check_engine(engine: str) -> None:
    """Raise InputError, with the cure, where the engine cannot be used here."""
    try:
        registry.check(engine)
    except EngineError as error:
        raise InputError(f"--engine {engine}: {error}") from None
