"""Lines drawn in place at the bottom of a terminal, below whatever else is written to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from launch.screen.live.view import ASCII, LINES, Glyphs, Line
from launch.screen.reader import reader_may_be_gone
from launch.screen.streams import shows_utf8

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.live import Live
    from rich.segment import Segment


class Screen:
    """Draws lines in place while it is entered, and removes them at the end.

    Nothing is drawn by itself: a thread that draws takes a processor that an instance may be using.
    `closed` is called at the end.
    """

    def __init__(self, stream: TextIO, closed: Callable[[], None]) -> None:
        self._stream = stream
        self._closed = closed
        self._live: Live | None = None

    @property
    def glyphs(self) -> Glyphs:
        """What the encodings of the stream and of the locale have for bars."""
        return LINES if shows_utf8(getattr(self._stream, "encoding", None)) else ASCII

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        size = shutil.get_terminal_size()
        return size.columns, size.lines

    def __enter__(self) -> Screen:
        with reader_may_be_gone():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                console=Console(file=self._stream, highlight=False),
                auto_refresh=False,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            with reader_may_be_gone():
                self._live.stop()
            self._live = None
        self._closed()

    def draw(self, lines: Sequence[Line]) -> None:
        """Replace the drawing."""
        if self._live is not None:
            with reader_may_be_gone():
                self._live.update(_Lines(lines), refresh=True)

    def console_print(self, text: str) -> bool:
        """Write `text` above the drawing; False where there is none."""
        if self._live is None:
            return False
        self._live.console.print(text, markup=False, highlight=False)
        return True


class _Lines:
    """Lines as rich takes them: cut to width and styled already, which costs it the least."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for number, line in enumerate(self._lines):
            if number:
                yield Segment.line()
            for text, style in line:
                yield Segment(text, console.get_style(style) if style else None)
