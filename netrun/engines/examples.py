"""Inputs of a part that stand for all others while a graph is taken from its module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from models.task import Array, Field, Part

ROWS = 2
"""Of one row, a graph may take for constant what is not."""
LENGTH = 16
"""Of a varying dimension without buckets."""


def examples(part: Part, inputs: Sequence[Mapping[str, Array]]) -> list[Array]:
    """Inputs of two rows, in the part's order: the first of `inputs`, or zeros without any."""
    if inputs:
        return [np.stack([inputs[0][field.name]] * ROWS) for field in part.inputs]
    length = part.buckets[0] if part.buckets else LENGTH
    return [np.zeros((ROWS, *_shape(field, length)), field.dtype) for field in part.inputs]


def varying(field: Field) -> dict[int, str]:
    """The dimensions of an input or output [n, ...] that vary, each with a name."""
    return {0: "rows"} | {
        at + 1: f"{field.name}_{at + 1}" for at, size in enumerate(field.shape) if size is None
    }


def _shape(field: Field, length: int) -> list[int]:
    return [length if size is None else size for size in field.shape]
