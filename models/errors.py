"""What is wrong with the user's input; nothing is imported to say so."""

from __future__ import annotations

from collections.abc import Sequence

QUOTED = 60


def quoted(value: object) -> str:
    """`value` in one line of at most about 60 characters, for a message about it."""
    text = ascii(value[: QUOTED + 1] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."


class InputError(Exception):
    """Something the user gave is wrong; the message is one line that names it and the cure."""


class UnknownModel(InputError):  # noqa: N818 - a lookup that failed, as KeyError
    """No model has this name; `nearest` is the name of the one that comes nearest."""

    def __init__(self, name: str, nearest: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown model '{name}' (nearest: {nearest}; known: {', '.join(known)})")
        self.name = name
        self.nearest = nearest


class WeightsError(InputError):
    """A weights file that cannot be read or does not fit the network."""
