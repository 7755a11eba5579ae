"""From a part that is a ranking network to what instances map: its tables, and its layers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netrun.engines import EngineError
from netrun.engines.ranking import tables

if TYPE_CHECKING:
    from models.task import Part
    from netrun.engines.order import Order

KIND = "int8-ranking"
TABLES = "tables"
"""The fact of a network's artifact that names the file of its tables, which lies beside it."""


def build(order: Order) -> Path:
    """The networks of a task's parts and their tables, found or built; raises EngineError."""
    if len(order.task.parts) != 1:
        raise EngineError(f"{order.task.name}: a ranking network is one part")
    return _int8(order) if order.precision == "int8" else _eager(order)


def _int8(order: Order) -> Path:
    from models.quantize.ranking import VERSION

    key = {**order.origin, **order.calibrated, "ranking": VERSION}

    def write(part: Part, path: Path) -> None:
        from models import artifact
        from models.quantize.ranking import quantise

        network: Any = order.module(part, "onednn")
        given = [
            np.concatenate([sample[field.name] for sample in order.samples()])
            for field in part.inputs
        ]
        made = quantise(network, *given)
        facts = {**key, "shape": asdict(network.shape), "stored": made.facts()}
        artifact.write(path, KIND, {**facts, TABLES: _tables(order, network)}, made.arrays)

    found = order.ensure("int8-ranking", key, KIND, write)
    _tables_of(order, found, KIND)
    return found


def _eager(order: Order) -> Path:
    from netrun.engines.pytorch.stored import KIND as NETWORK
    from netrun.engines.pytorch.stored import STORED

    key = {**order.origin, "precision": order.precision, "stored": STORED}

    def write(part: Part, path: Path) -> None:
        from netrun.engines.pytorch.network import save

        network: Any = order.module(part, "pytorch")
        sizes = dict(order.task.sizes(order.weights))
        facts = {**key, "sizes": sizes, TABLES: _tables(order, network)}
        save(network, order.precision, path, facts)

    found = order.ensure(f"pytorch-{order.precision}", key, NETWORK, write)
    _tables_of(order, found, NETWORK)
    return found


def _tables(order: Order, network: Any) -> str:
    """Have the tables written, unless they are there; the name of their file."""
    key = {**order.origin, "tables": tables.STORED, "precision": order.precision}

    def write(path: Path) -> None:
        tables.write(path, network.tables.arrays(), order.precision, key, order.progress)

    return order.ensure_beside(f"tables-{order.precision}", key, tables.KIND, write).name


def _tables_of(order: Order, network: Path, kind: str) -> None:
    """Have the tables of a network that was found there written anew where they are gone."""
    from models import artifact

    part = order.task.parts[0]
    name = artifact.read_facts(network, kind)[TABLES]
    if not (network.parent / name).is_file():
        _tables(order, order.module(part, "pytorch"))
