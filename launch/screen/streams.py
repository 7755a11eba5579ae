"""Standard streams and encodings of a command, put in order before it says or opens anything.

A container may start a command with its output closed, a shell with a locale that is not UTF-8, and
names on a disk may be no text in any encoding: none of these may end a run.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import locale
import os
import sys

from base.text import FOREIGN

HANDLER = "loadrun"


def prepare_streams() -> None:
    """Make the standard streams usable whatever was inherited, and UTF-8 the encoding of names.

    Where the locale's encoding is another, this process is executed anew in Python's UTF-8 mode, so
    that names in lists, which are UTF-8, equal those on the disk.
    """
    open_closed_streams()
    if _needs_utf8_mode():
        # A system that refuses it leaves things as they are.
        words = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        with contextlib.suppress(OSError):
            os.execv(sys.executable, words)
    never_fail_on_a_name()


def _needs_utf8_mode() -> bool:
    if sys.flags.utf8_mode or "utf8" in sys._xoptions or not sys.executable:
        return False
    encodings = (sys.getfilesystemencoding(), locale.getencoding())
    return any(codecs.lookup(name).name != "utf-8" for name in encodings)


def open_closed_streams() -> None:
    """Let a standard stream that is closed lead nowhere.

    Otherwise the next file that is opened takes its number, and prints go into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def never_fail_on_a_name() -> None:
    """Write names as the bytes that they are, and escape what the encoding lacks."""
    codecs.register_error(HANDLER, _bytes_or_escapes)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def shows_utf8(encoding: str | None) -> bool:
    """Whether a terminal of this locale, written to in `encoding`, shows more than ASCII."""
    names = (encoding or "utf-8", locale.getencoding())
    return all(codecs.lookup(name).name.startswith("utf") for name in names)


def _bytes_or_escapes(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    try:
        return character.encode("ascii", FOREIGN), error.start + 1
    except UnicodeEncodeError:
        return character.encode("ascii", "backslashreplace"), error.start + 1
