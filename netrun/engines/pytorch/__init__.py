"""Networks in eager PyTorch, and int8 programs on PyTorch's own oneDNN operators."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

from netrun.engines.engine import EngineFacts
from netrun.engines.forms import form_of

if TYPE_CHECKING:
    from models.task import Part
    from netrun.engines.engine import Engine, EngineSpec
    from netrun.engines.order import Order

ENGINE = EngineFacts("PyTorch", ("int8", "bf16", "fp32"))


def check() -> None:
    """PyTorch is always there."""


def build(order: Order) -> Path:
    """The programs for int8; else the parameters of the networks, as they are used."""
    if form := form_of(order.task, order.precision):
        return form.build(order)
    if order.precision == "int8":
        return order.programs()
    from netrun.engines.pytorch.stored import KIND, STORED

    # Another release may trace and fold a network in another way.
    key = {
        **order.origin,
        "torch": importlib.metadata.version("torch"),
        "precision": order.precision,
        "stored": STORED,
    }

    def write(part: Part, path: Path) -> None:
        from netrun.engines.pytorch.network import save

        sizes = dict(order.task.sizes(order.weights))
        save(order.module(part, "pytorch"), order.precision, path, {**key, "sizes": sizes})

    return order.ensure(f"pytorch-{order.precision}", key, KIND, write)


def load(spec: EngineSpec) -> Engine:
    """The engine, its parameters mapped."""
    if form := form_of(spec.task, spec.precision):
        return form.load(spec, portable=True)
    from netrun.engines.pytorch.engine import PyTorchEngine

    return PyTorchEngine(spec)
