"""What the network spells: space, letters, apostrophe; and how transcripts are read."""

from __future__ import annotations

from collections.abc import Iterable

LABELS = " abcdefghijklmnopqrstuvwxyz'"
BLANK = len(LABELS)
"""The last output of the network: nothing (more) is spelt at this frame."""


def text(labels: Iterable[int]) -> str:
    """Return what labels spell."""
    return "".join(LABELS[label] for label in labels)


def normalised(transcript: str) -> str:
    """Return a transcript in the network's alphabet: lower case, the rest is space, single."""
    known = "".join(letter if letter in LABELS else " " for letter in transcript.lower())
    return " ".join(known.split())
