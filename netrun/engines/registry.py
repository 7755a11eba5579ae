"""Engines by name: their files, imported when they are asked for."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Protocol

from models.packages import installing_extra
from netrun.engines import ENGINES, EngineError
from netrun.engines.engine import Answering, Engine, EngineFacts, EngineSpec
from netrun.engines.order import Order


class EngineFile(Protocol):
    """What an engine's file or folder offers."""

    ENGINE: EngineFacts

    def check(self) -> None:
        """Raise EngineError, with the cure, where the engine cannot be used here."""

    def build(self, order: Order) -> Path | None:
        """Build what `load` needs, or find it built: the file of the task's first part.

        None where nothing is needed. Raises EngineError for what the engine cannot execute, and
        what `Order` raises.
        """

    def load(self, spec: EngineSpec) -> Engine | Answering:
        """The engine, ready; raises EngineError where an artifact does not fit."""


def engine_file(name: str) -> EngineFile:
    """The engine's file."""
    found: EngineFile = importlib.import_module(ENGINES[name])  # type: ignore[assignment]
    return found


def facts(name: str) -> EngineFacts:
    """What the engine says of itself."""
    return engine_file(name).ENGINE


def executing(precision: str) -> list[str]:
    """Names of the engines that execute a precision, its default first."""
    return [name for name in ENGINES if precision in facts(name).precisions]


def check(name: str) -> None:
    """Raise EngineError, with the cure, where the engine cannot be used here."""
    engine = engine_file(name)
    for package in engine.ENGINE.packages:
        if importlib.util.find_spec(package) is None:
            raise EngineError(
                f"engine {name} is not installed: {installing_extra(engine.ENGINE.extra or name)}"
            )
    engine.check()


def load(name: str, spec: EngineSpec) -> Engine | Answering:
    """The engine, ready; raises EngineError."""
    if spec.precision not in facts(name).precisions:
        raise EngineError(
            f"engine {name} does not execute {spec.precision}; use"
            f" {', '.join(executing(spec.precision))}"
        )
    check(name)
    return engine_file(name).load(spec)


def build(name: str, order: Order) -> Path | None:
    """What the engine executes of the order's task, found or built; None where it needs nothing.

    The path is that of the first part's file. Raises WeightsError for weights that do not fit,
    InputError for samples that cannot be calibrated on, EngineError where the engine cannot be used
    here or cannot execute the network.
    """
    check(name)
    return engine_file(name).build(order)
