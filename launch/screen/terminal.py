"""What the user sees: plain lines, boxes that cannot be missed, progress bars on a terminal."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, TextIO

from launch.screen.reader import reader_may_be_gone

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.table import Table

    from launch.screen.live.screen import Screen

WIDTH = 96
WIDEST = 1000
"""More columns than a table needs."""
DRAWN_INTERVAL_S = 0.5
PLAIN_INTERVAL_S = 15.0
UNDRAWABLE = ("dumb", "unknown")
"""Values of TERM of terminals that cannot draw over what they have drawn."""


class Drawn(Protocol):
    """Something drawn in place, which other lines have to stay above."""

    def console_print(self, text: str) -> bool:
        """Write `text` above it; False when nothing is drawn."""


class Nowhere(io.StringIO):
    """A stream that keeps nothing: for a person who wants to read nothing."""

    def write(self, text: str, /) -> int:
        """Drop it."""
        return len(text)


def framed(title: str, text: str) -> list[str]:
    """Return the lines of a text in a frame of asterisks, which cannot be missed."""
    wrapped = [
        piece
        for paragraph in text.splitlines()
        for piece in textwrap.wrap(paragraph, WIDTH - 8) or [""]
    ]
    rule = "*" * WIDTH
    return [rule, *(f"**  {line:<{WIDTH - 8}}  **" for line in (title, *wrapped)), rule]


class Terminal:
    """Writes for a person to `stream`; bars only where that is a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._drawn: Drawn | None = None

    @classmethod
    def silent(cls) -> Terminal:
        """One that writes nothing."""
        return cls(Nowhere())

    @property
    def interactive(self) -> bool:
        """Whether a person looks at it now."""
        return self._stream.isatty()

    @property
    def draws(self) -> bool:
        """Whether something can be drawn in place."""
        return self.interactive and os.environ.get("TERM", "") not in UNDRAWABLE

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None where the stream is none, and lines may be of any length.

        COLUMNS, where set, is what the user wants.
        """
        return shutil.get_terminal_size().columns if self.interactive else None

    def line(self, text: str = "") -> None:
        """Write one or more lines; a bar in progress stays below them."""
        with reader_may_be_gone():
            if self._drawn is None or not self._drawn.console_print(text):
                print(text, file=self._stream, flush=True)

    def lines(self, texts: Iterable[str]) -> None:
        """Write several lines."""
        for text in texts:
            self.line(text)

    def box(self, title: str, text: str) -> None:
        """Write `text` in a frame of asterisks headed by `title`."""
        self.lines(framed(title, text))

    @property
    def answers(self) -> bool:
        """Whether a person can be asked something: on a terminal, and in its foreground."""
        if not self.interactive:
            return False
        try:
            return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
        except (OSError, ValueError, AttributeError):
            return False

    def agrees(self, question: str) -> bool:
        """Ask for a yes; anything else, and the end of the input, is a no."""
        with reader_may_be_gone():
            print(f"{question} [y/N] ", end="", file=self._stream, flush=True)
            return sys.stdin.readline().strip().lower() in ("y", "yes")
        return False

    def table(self, table: Table) -> None:
        """Write a table: folded to a terminal's width, else as wide as its contents."""
        with reader_may_be_gone():
            from rich.console import Console

            width = self.width or WIDEST
            Console(file=self._stream, highlight=False, width=width).print(table, markup=False)

    def bar(self, description: str, unit: str = "") -> Bar:
        """A progress bar (a context manager): on a terminal drawn in place, else rare lines."""
        bar = self._drawn = Bar(self, self._stream, description, unit)
        return bar

    def screen(self) -> Screen:
        """Lines drawn in place (a context manager), for a terminal that `draws`."""
        from launch.screen.live.screen import Screen

        screen = self._drawn = Screen(self._stream, self.undrawn)
        return screen

    def undrawn(self) -> None:
        """What was drawn no longer needs its place."""
        self._drawn = None


class Bar:
    """Progress of one thing; enter it, call `update`, leave it."""

    def __init__(self, terminal: Terminal, stream: TextIO, description: str, unit: str) -> None:
        self._terminal = terminal
        self._stream = stream
        self._description = description
        self._unit = f" {unit}" if unit else ""
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._shown_at = time.monotonic()

    def __enter__(self) -> Bar:
        if self._terminal.draws:
            self._draw()
        return self

    def _draw(self) -> None:
        with reader_may_be_gone():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[detail]}"),
                console=Console(file=self._stream),
                transient=True,
                # Drawing takes milliseconds of a processor that an instance may be using.
                auto_refresh=False,
            )
            self._progress.start()
            self._task = self._progress.add_task(self._description, total=None, detail="")

    def __exit__(self, *exc: object) -> None:
        if self._progress is not None:
            with reader_may_be_gone():
                self._progress.stop()
            self._progress = None
        self._terminal.undrawn()

    def update(self, done: float, total: float | None, detail: str = "") -> None:
        """Show `done` of `total` (None: unknown), with `detail` beside it."""
        with reader_may_be_gone():
            self._update(done, total, detail)

    def _update(self, done: float, total: float | None, detail: str) -> None:
        if self._progress is not None and self._task is not None:
            if time.monotonic() - self._shown_at >= DRAWN_INTERVAL_S:
                self._shown_at = time.monotonic()
                self._progress.update(
                    self._task, completed=done, total=total, detail=detail, refresh=True
                )
        elif time.monotonic() - self._shown_at >= PLAIN_INTERVAL_S:
            self._shown_at = time.monotonic()
            share = f" {100 * min(done / total, 1):.0f}%" if total else ""
            print(
                f"{self._description}:{share} {detail}{self._unit}".rstrip(),
                file=self._stream,
                flush=True,
            )

    def console_print(self, text: str) -> bool:
        """Write `text` above the drawn bar; False when none is drawn."""
        if self._progress is None:
            return False
        self._progress.console.print(text, markup=False, highlight=False)
        return True
