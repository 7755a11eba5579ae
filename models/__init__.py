"""Models: networks, weights, pre- and postprocessing, accuracy and data sets.

Importing this package costs numpy only: networks import torch when they are built.
"""

import difflib

from models.mobilenet import MOBILENET
from models.model import InputError, Model, SampleFormat, UnknownModel, WeightsError
from models.resnet50 import RESNET50

__all__ = [
    "InputError",
    "Model",
    "SampleFormat",
    "UnknownModel",
    "WeightsError",
    "get",
    "names",
]

_MODELS: dict[str, Model] = {model.name: model for model in (RESNET50, MOBILENET)}


def names() -> list[str]:
    """Return the names of the models, without their aliases."""
    return list(_MODELS)


def get(name: str) -> Model:
    """Return the model of this name or alias, in any capitalisation.

    Raises UnknownModel, whose message and `nearest` attribute name the nearest model.
    """
    known = {alias: model for model in _MODELS.values() for alias in (model.name, *model.aliases)}
    wanted = name.lower().replace("_", "-")
    if wanted in known:
        return known[wanted]
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.0)
    raise UnknownModel(name, known[close[0]].name, names())
