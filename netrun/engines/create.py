"""Makes the engine that a configuration names.

Only that engine's module is imported, because their libraries are large.
"""

from __future__ import annotations

from netrun.config import NetrunConfig
from netrun.engines import ENGINES, SUPPORTED, Engine, EngineError


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
