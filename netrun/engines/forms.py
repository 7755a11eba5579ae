"""What runs parts in int8 that are no programs of images: by their form, for every engine of ours.

Found by name, so that nothing is imported for a task that does not need it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.task import ENCODER, RANKING, TRANSDUCER, VOLUMES
from netrun.engines import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from models.task import Task
    from netrun.engines.engine import Engine, EngineSpec
    from netrun.engines.order import Order


@dataclass(frozen=True)
class Form:
    """Where a form's functions are: module and name."""

    builder: str
    """Of an `Order`: the file of the task's first part."""
    engine: str
    """Of an `EngineSpec`, and whether only PyTorch's operators are to be used where they can be."""
    every: bool = False
    """Whether they are for every precision, as they keep tables; else for int8."""

    def build(self, order: Order) -> Path:
        """Build the parts, or find them built. Raises EngineError, InputError."""
        found: Path = _named(self.builder)(order)
        return found

    def load(self, spec: EngineSpec, portable: bool = False) -> Engine:
        """What runs the parts, ready. Raises EngineError."""
        engine: Engine = _named(self.engine)(spec, portable)
        return engine


_TRANSFORMER, _VOLUMES = "netrun.engines.transformer", "netrun.engines.volumes"
_TRANSDUCER = "netrun.engines.transducer"
_RANKING = "netrun.engines.ranking"
FORMS = {
    ENCODER: Form(f"{_TRANSFORMER}.build:build", f"{_TRANSFORMER}.engine:EncoderEngine"),
    TRANSDUCER: Form(f"{_TRANSDUCER}.build:build", f"{_TRANSDUCER}.engine:TransducerEngine"),
    VOLUMES: Form(f"{_VOLUMES}.build:build", f"{_VOLUMES}.engine:VolumeEngine"),
    RANKING: Form(f"{_RANKING}.build:build", f"{_RANKING}.engine:RankingEngine", every=True),
}


def form_of(task: Task, precision: str = "int8") -> Form | None:
    """The form of a task's parts in a precision; None for programs of images, and eager networks.

    Raises EngineError for a mixture.
    """
    forms = {part.form: FORMS.get(part.form) for part in task.parts}
    if precision != "int8":
        forms = {name: form for name, form in forms.items() if form is not None and form.every}
        return next(iter(forms.values()), None)
    if len(forms) > 1:
        raise EngineError(f"{task.name}: int8 runs parts of one form, not of {', '.join(forms)}")
    (found,) = forms.values()
    return found


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
