"""Label files: one `name label` line per image, as MLPerf's val_map.txt."""

from __future__ import annotations

import re
from pathlib import Path

from base.errors import InputError, quoted
from base.text import read_given

CLASSES = 1000
_ENDING = re.compile(r"\.[a-z]{3,4}$", re.ASCII | re.IGNORECASE)
"""What a name of several words ends with."""


def read_labels(path: Path) -> list[tuple[str, int]]:
    """Return (image name, class of 0..999) in the order of the file; empty lines do not count.

    Raises InputError that names file and line.
    """
    try:
        lines = read_given(path).splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such label file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a label file ({error})") from None
    labels: list[tuple[str, int]] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, digits = [*line.rsplit(maxsplit=1), ""][:2]
        # Names may have blanks, but a third field must not become a part of one.
        whole = len(name.split()) == 1 or _ENDING.search(name)
        if not whole or not (digits.isascii() and digits.isdecimal()):
            raise InputError(f"{path}:{number}: {quoted(line.strip())} is not `name label`")
        label = int(digits) if len(digits) < 10 else CLASSES
        if label >= CLASSES:
            raise InputError(
                f"{path}:{number}: label {quoted(digits)[1:-1]} is not in 0..{CLASSES - 1}"
            )
        if name in seen:
            raise InputError(f"{path}:{number}: {quoted(name)[1:-1]} is listed twice")
        seen.add(name)
        labels.append((name, label))
    if not labels:
        raise InputError(f"{path}: holds no `name label` line")
    return labels
