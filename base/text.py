"""Text of files: UTF-8, whatever the locale says, and names in it byte for byte.

Linux names are bytes. Those that are no UTF-8 are held as Python holds them in paths: each foreign
byte as a lone surrogate, which `read_given` makes of what people write into a list, so that it
equals the name on the disk.
"""

from __future__ import annotations

import re
from pathlib import Path

FOREIGN = "surrogateescape"
"""How a byte that is no UTF-8 becomes a character, and that character the byte again."""


def read_given(path: Path) -> str:
    """Return the text of a file that a person wrote, without a byte order mark.

    Raises OSError, and ValueError for bytes that are not UTF-8, with the cure.
    """
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("is UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)")
    if b"\0" in data:
        raise ValueError("not a text file")
    return data.decode("utf-8-sig", FOREIGN)


def printable(text: str) -> str:
    r"""Return `text` with foreign bytes written as \xe9: fit for a file that must be UTF-8."""
    try:
        return text.encode("utf-8", FOREIGN).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        # A surrogate that stands for no byte, as a hostile JSON file can hold.
        return text.encode("utf-8", "backslashreplace").decode()


def slug(text: str) -> str:
    """Return `text` as the name of a file or folder: a-z, 0-9, dots, dashes and underscores."""
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-.") or "unnamed"
