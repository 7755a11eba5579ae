"""What the user's names and files can have wrong for a model."""

from __future__ import annotations

from collections.abc import Sequence

from base.errors import InputError


class UnknownModel(InputError):  # noqa: N818 - a lookup that failed, as KeyError
    """No model has this name; `nearest` is the name of the one that comes nearest."""

    def __init__(self, name: str, nearest: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown model '{name}' (nearest: {nearest}; known: {', '.join(known)})")
        self.name = name
        self.nearest = nearest


class WeightsError(InputError):
    """A weights file that cannot be read or does not fit the network."""
