"""From a part that is an encoder, and what it is given, to its int8 artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.batch import Samples
from netrun.engines.transformer import artifact
from netrun.engines.transformer.executor import Shape

if TYPE_CHECKING:
    from models.task import Array, Part, Task
    from netrun.engines.order import Order


def build(order: Order) -> Path:
    """The int8 encoders of a task's parts, found or built; the same for every machine."""
    from models.quantize.encoder import VERSION

    key = {**order.origin, **order.calibrated, "encoder": VERSION, "packing": artifact.PACKING}

    def write(part: Part, path: Path) -> None:
        import torch

        from models.quantize.encoder import quantise

        network: Any = order.module(part, "onednn")
        given = [
            {name: torch.from_numpy(array) for name, array in inputs.items()}
            for inputs in calls(order.task, part, order.samples())
        ]
        sizes = network.sizes
        shape = Shape(sizes.hidden, sizes.layers, sizes.heads, sizes.inner, sizes.eps)
        ranges = getattr(network, "ranges", {})
        artifact.write(path, quantise(network, given, ranges, order.progress), shape, key)

    return order.ensure("int8-encoder", key, artifact.KIND, write)


def calls(task: Task, part: Part, samples: Any) -> list[dict[str, Array]]:
    """What the part is given for each sample alone: whole streams, which no rows are taken of."""
    found: list[dict[str, Array]] = []

    def note(**inputs: Array) -> Mapping[str, Array]:
        found.append({name: np.array(array) for name, array in inputs.items()})
        count = len(next(iter(inputs.values())))
        return {
            field.name: np.zeros((count, *(size or 1 for size in field.shape)), field.dtype)
            for field in part.outputs
        }

    for sample in samples:
        task.infer({part.name: note}, Samples([sample]))
    return found
