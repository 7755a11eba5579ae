"""The part of user.conf that loadrun writes: between two comment lines, at the end of the file.

LoadGen takes the last line of a key, so the section wins over what stands above it. Everything
outside of it is the user's and stays as it is, byte for byte.
"""

from __future__ import annotations

import stat
from pathlib import Path

from base.errors import InputError
from base.files import written_aside
from base.text import FOREIGN
from loadrun.user_conf import UserConfError, parse_user_conf

BEGIN = "# --- tuned: written by loadrun find-qps; lines in here are replaced ---"
END = "# --- end of tuned ---"


def with_setting(text: str, key: str, value: str, comment: str) -> str:
    """`text` with ``key = value`` in its tuned section, which comes last; other keys there stay.

    `comment` is written above the line. Raises ValueError for a section without an end.
    """
    before, section, after = _split(text)
    kept: list[tuple[str, str]] = []
    above = ""
    for line in section:
        words = line.split()
        if words[:1] == ["#"]:
            above = line
        elif words and words[0] != key:
            kept.append((above, line))
            above = ""
        elif words:
            above = ""
    kept.append((f"# {comment}", f"{key} = {value}"))
    lines = [part for pair in sorted(kept, key=lambda x: x[1]) for part in pair if part]
    rest = before + after
    if rest and not rest.endswith("\n"):
        rest += "\n"
    return rest + "\n".join([BEGIN, *lines, END]) + "\n"


def overridden(text: str, key: str) -> list[int]:
    """Line numbers outside of the section that set `key` too, and lose to it."""
    before, section, _ = _split(text)
    first = before.count("\n") + 1
    inside = range(first, first + len(section) + 2) if section or BEGIN in text else range(0)
    lines = enumerate(text.removeprefix("\ufeff").splitlines(), 1)
    return [n for n, line in lines if line.split()[:1] == [key] and n not in inside]


def write_setting(path: Path, key: str, value: str, comment: str) -> list[int]:
    """Put a setting into the tuned section of `path`, which need not exist: aside, then renamed.

    A link stays a link; permissions stay. The new text is checked as LoadGen would read it before
    it takes its place. Returns `overridden`; InputError where the file cannot be changed.
    """
    target = path.resolve()
    text, mode = _read(path)
    try:
        new = with_setting(text, key, value, comment)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    try:
        with written_aside(target) as aside:
            aside.write_bytes(new.encode("utf-8", FOREIGN))
            aside.chmod(mode)
            _check(aside, path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; choose another with --user-conf") from None
    return overridden(text, key)


def _check(aside: Path, path: Path) -> None:
    """InputError, naming `path`, for a text in `aside` that LoadGen would not read as it is."""
    try:
        parse_user_conf(aside)
    except UserConfError as error:
        raise InputError(str(error).replace(str(aside), str(path))) from None


def try_setting(path: Path, key: str) -> None:
    """Raise InputError unless `write_setting` could put a setting into the text of `path`."""
    text, _ = _read(path)
    try:
        with_setting(text, key, "1", "")
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _read(path: Path) -> tuple[str, int]:
    """The text, byte for byte, and the permissions of a file that need not exist."""
    target = path.resolve()
    try:
        # Also line ends, and bytes that are not UTF-8.
        text = target.read_bytes().decode("utf-8", FOREIGN)
        return text, stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return "", 0o644
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _split(text: str) -> tuple[str, list[str], str]:
    begin = text.find(BEGIN)
    if begin < 0:
        return text, [], ""
    end = text.find(END, begin)
    if end < 0:
        raise ValueError(f"the line {END!r} is missing behind {BEGIN!r}: put it back")
    section = text[begin + len(BEGIN) : end].strip("\r\n").splitlines()
    after = text[end + len(END) :]
    # The section's own line end goes with it.
    return text[:begin], section, after.removeprefix("\r\n").removeprefix("\n")
