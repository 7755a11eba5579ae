"""What a part is given, as the arrays that an engine wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from models.task import Array, Part

Given = Array | Sequence[Array]
Call = Callable[[list[Array]], list[Array]]
"""Inputs in a part's order to its outputs."""


def stacked(part: Part, inputs: Mapping[str, Given]) -> list[Array]:
    """The inputs in the part's order, each as one array [n, ...]; lists of several are copied.

    Raises ValueError where they are not the part's.
    """
    check_names(part, inputs)
    arrays = [_array(part, field.name, inputs[field.name]) for field in part.inputs]
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        raise ValueError(f"part {part.name}: inputs of {_listed(lengths)} rows")
    return arrays


def check_names(part: Part, inputs: Mapping[str, Given]) -> None:
    """Raise ValueError unless there is one input for each of the part's fields."""
    names = {field.name for field in part.inputs}
    if inputs.keys() != names:
        raise ValueError(f"part {part.name} takes {_listed(names)}, not {_listed(inputs)}")


def by_name(part: Part, outputs: Sequence[Array]) -> dict[str, Array]:
    """The outputs under the names of the part's fields, in their types."""
    return {
        field.name: array.astype(field.dtype, copy=False)
        for field, array in zip(part.outputs, outputs, strict=True)
    }


def zeros(part: Part, rows: int) -> dict[str, Array]:
    """Inputs of a part whose inputs all have fixed shapes: zeros."""
    found = {}
    for field in part.inputs:
        shape = [rows, *(size or 0 for size in field.shape)]
        found[field.name] = np.zeros(shape, field.dtype)
    return found


def chunked(call: Call, size: int) -> Call:
    """`call` for any number of rows, where it takes exactly `size`: the last ones are filled up."""

    def calls(arrays: list[Array]) -> list[Array]:
        count = len(arrays[0])
        found = []
        for start in range(0, count, size):
            rows = [array[start : start + size] for array in arrays]
            missing = size - len(rows[0])
            if missing:
                rows = [np.concatenate([each, *[each[-1:]] * missing]) for each in rows]
            found.append([np.array(output) for output in call(rows)])
        return [np.concatenate(outputs)[:count] for outputs in zip(*found, strict=True)]

    return calls


def _array(part: Part, name: str, given: Given) -> Array:
    if isinstance(given, np.ndarray):
        return given
    shapes = {row.shape for row in given}
    if len(shapes) > 1:
        raise ValueError(
            f"part {part.name}: rows of {name} have shapes {_listed(shapes)}; a batch has one"
        )
    stack: Array = given[0][None] if len(given) == 1 else np.stack(given)
    return stack


def _listed(values: object) -> str:
    return ", ".join(sorted(map(str, values)))  # type: ignore[call-overload]
