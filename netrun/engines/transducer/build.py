"""From a transducer's parts, and what its encoder is given, to their int8 artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netrun.engines.recorder import first_call
from netrun.engines.transducer import artifact

if TYPE_CHECKING:
    from models.task import Array, Part, Task
    from netrun.engines.order import Order
    from netrun.engines.recorder import Sample


def build(order: Order) -> Path:
    """The int8 parts of a task, found or built; the same for every machine."""
    from models.quantize import transducer

    key = {
        **order.origin,
        **order.calibrated,
        "transducer": transducer.VERSION,
        "packing": artifact.PACKING,
    }

    def write(part: Part, path: Path) -> None:
        module: Any = order.module(part, "onednn")
        if part.name == "encoder":
            arrays = transducer.encoder(module, features(order.task, order.samples()))
        else:
            arrays = getattr(transducer, part.name)(module)
        artifact.write(path, arrays, key)

    return order.ensure("int8-transducer", key, artifact.KIND, write)


def features(task: Task, samples: Sequence[Sample]) -> list[Array]:
    """What the first input of the first part is for each sample."""
    name = task.parts[0].inputs[0].name
    return [np.array(first_call(task, [sample])[name]) for sample in samples]
