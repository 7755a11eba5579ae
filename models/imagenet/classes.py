"""Which class the images of a sub-folder belong to, by the names of all sub-folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from base.errors import InputError, quoted
from models.imagenet.labels import CLASSES

SYNSET = re.compile(r"n\d{8}", re.ASCII)
"""WordNet's name of a class of ImageNet; their alphabetical order is that of the labels."""
NUMBERED = (re.compile(r"(\d+)(?!\d).*", re.ASCII), re.compile(r".*?(\d+)", re.ASCII))
"""Names that begin with a number, or end with one."""
CURE = "give --labels FILE"


@dataclass(frozen=True)
class Classes:
    """The class of each sub-folder, where they tell it.

    `source` says how, in words that follow "labels:"; where `labels` is None, why not, with the
    cure. `left_out` are sub-folders that are no class beside others that are.
    """

    labels: dict[str, int] | None
    source: str
    left_out: tuple[str, ...] = ()


def is_number(folder: str) -> bool:
    """Whether a sub-folder's name is a number and nothing else."""
    return folder.isascii() and folder.isdecimal()


def is_class(folder: str) -> bool:
    """Whether a sub-folder's name is a label's or a synset's."""
    return is_number(folder) or _is_synset(folder)


def classes_of(folders: Sequence[str]) -> Classes:
    """Return the classes of sub-folders that all hold images.

    Numbers, with zeros in front or without, are the labels themselves. 1000 synsets of ImageNet
    have their place in the alphabetical order; so have 1000 other names, unless each holds one of
    the numbers 0 to 999. Of names of two kinds those of the larger part count. Raises InputError
    where two names are the same number.
    """
    for kind, labelled in ((is_number, _by_number), (_is_synset, _by_synset)):
        alike = sorted(folder for folder in folders if kind(folder))
        if 2 * len(alike) > len(folders):
            labels, source = labelled(alike)
            others = tuple(sorted(set(folders) - set(alike)))
            return Classes(labels, source, others if labels is not None else ())
    return Classes(*_by_other(sorted(folders)))


def _is_synset(folder: str) -> bool:
    return SYNSET.fullmatch(folder) is not None


def _by_number(folders: list[str]) -> tuple[dict[str, int] | None, str]:
    # No class has more than a few digits, and Python refuses to read thousands of them.
    numbers = {f: int(f) if len(f.lstrip("0")) < 10 else 10**9 for f in folders}
    by_value: dict[int, str] = {}
    for folder, value in numbers.items():
        if value < CLASSES and value in by_value:
            raise InputError(
                f"sub-folders {quoted(by_value[value])} and {quoted(folder)} are both label "
                f"{value}: leave one, or {CURE}"
            )
        by_value[value] = folder
    strange = sorted(value for value in by_value if value >= CLASSES)
    if not strange:
        return numbers, f"{_counted(folders)} by number"
    if strange == [CLASSES] and 0 not in by_value:
        return None, (
            f"{_counted(folders)} count from 1 to {CLASSES}, and labels are 0 to {CLASSES - 1}:"
            f" rename them, or {CURE}"
        )
    first = by_value[strange[0]]
    return None, (
        f"sub-folder {quoted(first)} is no label of 0 to {CLASSES - 1}: move it away, or {CURE}"
    )


def _by_synset(folders: list[str]) -> tuple[dict[str, int] | None, str]:
    if len(folders) == CLASSES:
        return _by_place(folders), f"{_counted(folders)} in the order of ImageNet's synsets"
    return None, (
        f"{_counted(folders)} named as ImageNet's synsets, which are {CLASSES}: "
        f"{_too(len(folders))}, or {CURE}"
    )


def _by_other(folders: list[str]) -> tuple[dict[str, int] | None, str]:
    for pattern in NUMBERED:
        matches = [pattern.fullmatch(folder) for folder in folders]
        numbers = [int(m[1]) if m is not None and len(m[1]) < 10 else -1 for m in matches]
        if sorted(numbers) == list(range(CLASSES)):
            labels = dict(zip(folders, numbers, strict=True))
            return labels, f"{_counted(folders)} by the number in their names"
    if len(folders) == CLASSES:
        return _by_place(folders), f"{_counted(folders)} in alphabetical order"
    if abs(len(folders) - CLASSES) <= CLASSES // 10:
        return None, f"{_counted(folders)} for {CLASSES} classes: {_too(len(folders))}, or {CURE}"
    return None, (
        f"{_counted(folders)} whose names are no labels of 0 to {CLASSES - 1}, nor {CLASSES}"
        f" classes: {CURE}"
    )


def _by_place(folders: list[str]) -> dict[str, int]:
    return {folder: label for label, folder in enumerate(folders)}


def _too(count: int) -> str:
    over = count - CLASSES
    if over > 0:
        return f"move the {over} away that {'is' if over == 1 else 'are'} none"
    return f"{-over} {'is' if over == -1 else 'are'} missing or without images"


def _counted(folders: Sequence[str]) -> str:
    return f"{len(folders)} sub-folder{'s' * (len(folders) != 1)}"
