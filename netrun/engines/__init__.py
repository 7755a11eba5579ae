"""Engines: what executes a batch.

An engine is made from a configuration, prepared once, and then asked for the answers to batches of
samples of the arena. `create` imports only the module of the engine that is asked for, because
their libraries are large.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from netrun.config import NetrunConfig

ENGINES = ("onednn", "pytorch", "null", "sim")
PRECISIONS = ("int8", "bf16", "fp32")
# What an engine can execute; the first engine with a precision is that precision's default.
SUPPORTED = {
    "onednn": ("int8",),
    "pytorch": ("int8", "bf16", "fp32"),
    "null": PRECISIONS,
    "sim": PRECISIONS,
}


class EngineError(Exception):
    """An engine cannot be made or used; the message is one line, with the cure if there is one."""


class Answer(NamedTuple):
    """Answers to a batch: `payload` holds them one behind the other, `lengths` bytes each.

    `payload` is bytes-like, C-contiguous and valid until the engine's next call.
    """

    payload: Any
    lengths: Sequence[int] | int


class Engine(Protocol):
    """Executes batches; used by one thread at a time."""

    def prepare(self) -> None:
        """Do everything that the first batch would otherwise pay for."""

    def infer(self, samples: NDArray[np.uint8], positions: Sequence[int]) -> Answer:
        """Answer the samples at `positions` of the arena `samples`, uint8 (slots, H, W, C)."""

    def describe(self) -> dict[str, Any]:
        """What the run's record says of the engine: versions, kernels."""


def create(config: NetrunConfig) -> Engine:
    """The engine that `config` names, loaded; raises EngineError."""
    if config.precision not in SUPPORTED[config.engine]:
        able = [engine for engine in ENGINES if config.precision in SUPPORTED[engine]]
        raise EngineError(
            f"engine {config.engine} does not execute {config.precision}; use {', '.join(able)}"
        )
    if config.engine == "null":
        from netrun.engines.null import NullEngine

        return NullEngine(config.batch_size)
    if config.engine == "sim":
        from netrun.engines.sim import SimulatedEngine

        return SimulatedEngine(config.batch_size, config.sim, seed=config.instance)
    if config.engine == "onednn":
        from netrun.engines.onednn.engine import OneDNNEngine

        return OneDNNEngine(config)
    from netrun.engines.pytorch.engine import PyTorchEngine

    return PyTorchEngine(config)
