"""HTML and SVG as text in which whatever comes from outside is escaped."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from urllib.parse import quote

_VOID = frozenset({"meta", "br", "hr", "col"})


class Markup(str):
    """Text that is HTML already; any other text is escaped where it is put into an element."""

    __slots__ = ()


Child = str | int | float | None
"""What an element can hold; None is nothing."""


def tag(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """An element. Of an attribute's name, a last ``_`` is dropped and others become ``-``.

    None or False leaves an attribute out, True gives it no value.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        else:
            shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
            words.append(f'{key}="{escape(str(shown))}"')
    start = f"<{' '.join(words)}>"
    return Markup(start if name in _VOID else f"{start}{join(*children)}</{name}>")


def address(target: Path, start: Path) -> str:
    """The link to a file from a page in the directory `start`.

    Names may hold what means something in an address (#, ?, %), and bytes that are no text.
    """
    return quote(os.fsencode(os.path.relpath(target, start)))


def scroller(label: str, *children: Child) -> Markup:
    """A box that scrolls by itself where its content is wider than the page; `label` names it."""
    return tag("div", *children, class_="scroll", role="region", aria_label=label, tabindex="0")


def join(*children: Child) -> Markup:
    """Elements and texts, one behind the other."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(str(child))
            for child in children
            if child is not None
        )
    )
