"""The lines of the live view: how far the test is, what instances do, what needs attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launch.screen.live.progress import Progress
from launch.screen.live.rows import Row
from loadrun.durations import duration

Span = tuple[str, str]
"""Text and the name of its style."""
Line = list[Span]

PLAIN, DIM, STRONG, GOOD, WARNING = "", "dim", "bold", "green", "yellow"
BUSY_ENOUGH = 0.5
"""From here on an instance's bar is drawn as one that works."""
LONGEST_BAR = 40
OTHER_LINES = 10
"""Lines of a screen that rows leave: head, figures, notes, and earlier lines."""
MOST_ROWS = 24
MOST_NOTES = 3


@dataclass(frozen=True)
class Glyphs:
    """What bars are drawn with."""

    full: str
    empty: str


@dataclass(frozen=True)
class Latencies:
    """Percentiles 50, 90 and 99 so far, and Server's limit at the last of them (0: none), in ns."""

    percentiles_ns: tuple[int, ...]
    limit_ns: int


LINES, ASCII = Glyphs("━", "─"), Glyphs("#", "-")


def rows_that_fit(height: int) -> int:
    """How many rows of instances a screen of `height` lines has room for."""
    return max(1, min(height - OTHER_LINES, MOST_ROWS))


def view(
    title: str,
    progress: Progress,
    rate: float | None,
    rows: Sequence[Row],
    notes: Sequence[str],
    width: int,
    glyphs: Glyphs = LINES,
    latencies: Latencies | None = None,
) -> list[Line]:
    """All lines, none wider than `width`; `rate` is in samples/s since the look before."""
    lines = [_head(title, progress, width, glyphs)]
    figures = _figures(progress, rate)
    if figures:
        lines.append([(f"  {figures}", PLAIN)])
    if latencies is not None:
        lines.append(_latencies(latencies))
    lines += _rows(rows, width, glyphs)
    lines += [[(f"  note: {text}", WARNING)] for text in notes[:MOST_NOTES]]
    return [_cut(line, width) for line in lines]


def bar(share: float, width: int, glyphs: Glyphs) -> tuple[str, str]:
    """The full and the empty part of a bar of `width` columns."""
    full = round(min(max(share, 0.0), 1.0) * width)
    return glyphs.full * full, glyphs.empty * (width - full)


def _head(title: str, progress: Progress, width: int, glyphs: Glyphs) -> Line:
    time_gone = duration(progress.gone_s)
    left = progress.left_s
    words = f"  {time_gone}" if left is None else f"  {time_gone}, {duration(left)} left"
    share = progress.share
    if share is None:
        return [(title, STRONG), (words, PLAIN)]
    words = f" {100 * share:3.0f}%{words}"
    room = min(width - len(title) - len(words) - 2, LONGEST_BAR)
    full, empty = bar(share, max(room, 0), glyphs)
    return [(f"{title}  ", STRONG), (full, GOOD), (empty, DIM), (words, PLAIN)]


def _figures(progress: Progress, rate: float | None) -> str:
    if progress.done is None:
        return ""
    of = f" of {progress.expected:,}" if progress.expected else ""
    words = [f"{progress.done:,}{of} samples"]
    if progress.rate is not None:
        words.append(f"{progress.rate:.4g} samples/s")
    if progress.work:
        words.append(progress.work)
    if rate is not None:
        words.append(f"{rate:.4g} just now")
    return "   ".join(words)


def _latencies(latencies: Latencies) -> Line:
    named = zip(("p50", "p90", "p99"), latencies.percentiles_ns, strict=True)
    text = "  latency so far " + "   ".join(f"{name} {ns / 1e6:.4g} ms" for name, ns in named)
    if not latencies.limit_ns:
        return [(text, PLAIN)]
    over = latencies.percentiles_ns[-1] > latencies.limit_ns
    return [(f"{text}   of {latencies.limit_ns / 1e6:g} ms", WARNING if over else PLAIN)]


def _rows(rows: Sequence[Row], width: int, glyphs: Glyphs) -> list[Line]:
    if not rows:
        return []
    labels = max(len(row.label) for row in rows)
    words = [_words(row) for row in rows]
    room = width - labels - max(map(len, words)) - 6
    length = max(min(room, LONGEST_BAR), 0)
    lines = []
    for row, text in zip(rows, words, strict=True):
        full, empty = bar(row.busy or 0.0, length, glyphs)
        style = GOOD if row.busy is None or row.busy >= BUSY_ENOUGH else PLAIN
        odd = WARNING if row.absent or row.least else PLAIN
        lines.append(
            [(f"  {row.label:<{labels}}  ", PLAIN), (full, style), (empty, DIM), (text, odd)]
        )
    return lines


def _words(row: Row) -> str:
    busy = "   -" if row.busy is None else f"{100 * row.busy:3.0f}%"
    text = f" {busy} busy {row.in_flight:>4} in flight {row.rate:>7.4g}/s"
    if row.absent:
        text += "  not serving" if row.absent == 1 else f"  {row.absent} not serving"
    if row.least is not None:
        index, share = row.least
        text += f"  instance {index}: {100 * share:.0f}%"
    return text


def _cut(line: Line, width: int) -> Line:
    """Let no line run on into the next: the terminal would not know how many to draw over."""
    cut: Line = []
    for text, style in line:
        if width <= 0:
            break
        cut.append((text[:width], style))
        width -= len(text)
    return cut
