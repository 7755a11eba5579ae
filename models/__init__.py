"""Models: networks, weights, pre- and postprocessing, accuracy and data sets.

Importing this package costs nothing: a model's module (numpy) is imported when `get` is asked for
it, torch when its network is built.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from models.errors import UnknownModel, WeightsError

if TYPE_CHECKING:
    from pathlib import Path

    from models.model import Model

__all__ = ["UnknownModel", "WeightsError", "for_weights", "get", "names"]

_MODELS = {"resnet50": "RESNET50", "mobilenet": "MOBILENET"}
"""The models: name, which is that of the module too, and the instance of Model in it."""

_VARIANTS = {"resnet50": {"tf": "RESNET50_TF"}}
"""The same for weights of another origin than the model's own; named `<model>-<origin>`."""


def names() -> list[str]:
    """Return the names of the models, without their aliases."""
    return list(_MODELS)


def get(name: str) -> Model:
    """Return the model of this name or alias, in any capitalisation, or the variant of this name.

    Raises UnknownModel, whose message and `nearest` attribute name the nearest model.
    """
    base, _, origin = name.rpartition("-")
    if instance := _VARIANTS.get(base, {}).get(origin):
        return _load(base, instance)
    models = [_load(known, instance) for known, instance in _MODELS.items()]
    known = {alias: model for model in models for alias in (model.name, *model.aliases)}
    wanted = name.lower().replace("_", "-")
    if wanted in known:
        return known[wanted]
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.0)
    raise UnknownModel(name, known[close[0]].name, names())


def for_weights(model: Model, weights: Path) -> Model:
    """Return the variant of the model that fits the origin of a weights file.

    Variants differ in their preprocessing, whose version is part of the key of cached samples, and
    in their outputs. Raises WeightsError where the file cannot be read.
    """
    if model.name not in _VARIANTS:
        return model
    from models.weights.origin import origin_of

    instance = _VARIANTS[model.name].get(origin_of(weights))
    return model if instance is None else _load(model.name, instance)


def _load(module: str, instance: str) -> Model:
    model: Model = getattr(importlib.import_module(f"models.{module}"), instance)
    return model
