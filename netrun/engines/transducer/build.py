"""From a transducer's parts, and what its encoder is given, to their int8 artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.batch import Samples
from netrun.engines.transducer import artifact

if TYPE_CHECKING:
    from models.task import Array, Part, Task
    from netrun.engines.order import Order


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


class _HeardError(Exception):
    """Nothing of a batch is asked beyond what its encoder was given."""


def features(task: Task, samples: Any) -> list[Array]:
    """What the first input of the first part is for each sample."""
    found: list[Array] = []
    first = task.parts[0]

    def note(**inputs: Array) -> Mapping[str, Array]:
        found.append(inputs[first.inputs[0].name].copy())
        raise _HeardError

    for sample in samples:
        try:
            task.infer({first.name: note}, Samples([sample]))
        except _HeardError:
            continue
    return found
