"""`loadrun report`: build the pages of runs again, compare runs, and make an index of results."""

from __future__ import annotations

import argparse
from pathlib import Path

from base.errors import ExitCode, InputError
from launch.commands.arguments import add_like_run
from launch.outcome.writable import try_file

SUMMARY = "pages of runs: build them again, compare runs, or make an index of all"
DESCRIPTION = """\
Every run leaves a page, report.html, beside its run.json. This command builds pages again from
run.json. With one RUN, its page; with several, theirs and a page that compares them; without any,
those of all results and index.html, a table of all runs, which is shown here as well.
"""
EPILOG = """\
examples:
  loadrun report
  loadrun report results/offline/resnet50/performance/run_1
  loadrun report before/run.json results/server/resnet50 --out comparison.html

exit codes: 0 written; 2 bad usage, or a run that cannot be read.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `loadrun report` accepts."""
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="directory or run.json of a run (default: all below --results)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="where the page goes; default: report.html beside run.json, comparison.html here,"
        " index.html in --results",
    )
    add_like_run(parser, "", "results")


def execute(arguments: argparse.Namespace) -> int:
    """Write the pages and say where they are."""
    out = Path(arguments.out) if arguments.out else None
    if out is not None:
        try_file(out, "--out", "choose another place", makes_folders=False)
    runs = [Path(run) for run in arguments.runs]
    if not runs:
        return _all(Path(arguments.results), out)
    if len(runs) == 1:
        return _one(runs[0], out)
    return _several(runs, out or Path("comparison.html"))


def _one(run: Path, out: Path | None) -> int:
    from launch.report.page import run_page
    from launch.report.sources import build, load_run, page_beside, write_page

    source = load_run(run)
    place = out or page_beside(source)
    write_page(place, build(source, run_page))
    print(place)
    return ExitCode.OK


def _several(runs: list[Path], out: Path) -> int:
    from launch.report.comparison import comparison_page
    from launch.report.page import run_page
    from launch.report.sources import build, load_run, page_beside, write_page

    try_file(out, "page", "choose another place with --out", makes_folders=False)
    sources = [load_run(run) for run in runs]
    # All of them before the first is written: a run that is refused leaves everything as it was.
    pages = [build(source, run_page) for source in sources]
    for source, page in zip(sources, pages, strict=True):
        write_page(page_beside(source), page)
    write_page(out, comparison_page(sources, out.absolute()))
    print(out)
    return ExitCode.OK


def _all(results: Path, out: Path | None) -> int:
    from launch.report.index import index_page, without_copies
    from launch.report.listing import show_runs
    from launch.report.page import run_page
    from launch.report.sources import Source, build, find, load_run, page_beside, write_page
    from launch.screen.terminal import Terminal

    paths = find(results)
    place = out or results / "index.html"
    try_file(place, "page", "choose another place with --out", makes_folders=False)
    sources: list[Source] = []
    refused: list[InputError] = []
    for path in paths:
        try:
            source = load_run(path)
            write_page(page_beside(source), build(source, run_page))
        except InputError as error:
            refused.append(error)
        else:
            sources.append(source)
    if not paths:
        raise InputError(f"{results}: no run.json below it; run loadrun, or give --results")
    runs = without_copies(Source(source.path.absolute(), source.record) for source in sources)
    write_page(place, index_page(runs, place.absolute()))
    terminal = Terminal()
    if runs:
        show_runs(terminal, runs)
    terminal.line(f"{place}: {len(runs)} run{'s' * (len(runs) != 1)}")
    if refused:
        raise InputError("; ".join(map(str, refused)))
    return ExitCode.OK
