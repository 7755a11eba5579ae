"""Models: networks, weights, pre- and postprocessing, accuracy and data sets.

Importing this package costs nothing: a model's module (numpy) is imported when `get` is asked for
it, torch when its network is built.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from models.errors import InputError, UnknownModel, WeightsError

if TYPE_CHECKING:
    from models.model import Model

__all__ = ["InputError", "UnknownModel", "WeightsError", "get", "names"]

_MODELS = {"resnet50": "RESNET50", "mobilenet": "MOBILENET"}
"""The models: name, which is that of the module too, and the instance of Model in it."""


def names() -> list[str]:
    """Return the names of the models, without their aliases."""
    return list(_MODELS)


def get(name: str) -> Model:
    """Return the model of this name or alias, in any capitalisation.

    Raises UnknownModel, whose message and `nearest` attribute name the nearest model.
    """
    models = [_load(known) for known in _MODELS]
    known = {alias: model for model in models for alias in (model.name, *model.aliases)}
    wanted = name.lower().replace("_", "-")
    if wanted in known:
        return known[wanted]
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.0)
    raise UnknownModel(name, known[close[0]].name, names())


def _load(name: str) -> Model:
    model: Model = getattr(importlib.import_module(f"models.{name}"), _MODELS[name])
    return model
