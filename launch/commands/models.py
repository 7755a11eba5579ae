"""`loadrun models`: what can be run here."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import models
from launch.commands.arguments import EXIT_CODES
from loadrun.scenarios import SERVER

if TYPE_CHECKING:
    from launch.catalogue import BenchmarkEntry, CachedEntry, Catalogue, TaskEntry

SUMMARY = "list tasks, benchmarks, engines, published weights, and what is cached"
DESCRIPTION = """\
Lists the tasks with their benchmarks (either is a MODEL of other commands), where weights and data
come from, the engines with the precisions that each executes, and what of all that is here already.
"""
EPILOG = f"""\
examples:
  loadrun models
  loadrun models --json | jq -r '.tasks[].benchmarks[].name'

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the forms."""
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    parser.add_argument("--names", action="store_true", help="only the tasks' names, one a line")


def execute(arguments: argparse.Namespace) -> int:
    """Look, and show it."""
    import json
    from dataclasses import asdict

    from launch.catalogue import catalogue
    from launch.screen.terminal import Terminal

    if arguments.names:
        Terminal().lines(models.names())
        return 0
    found = catalogue()
    if arguments.json:
        print(json.dumps(asdict(found), indent=1))
    else:
        Terminal().lines(lines(found))
    return 0


def lines(found: Catalogue) -> Iterator[str]:
    """The catalogue for a person."""
    for task in found.tasks:
        yield from _task(task)
        yield ""
    yield "engines"
    for engine in found.engines:
        what = ", ".join(engine.precisions)
        yield f"  {engine.name:<12} {what if engine.computes else 'computes nothing'}"
        if engine.missing:
            yield f"    not usable: {engine.missing}"
    yield ""
    yield f"cache: {found.cache}"
    yield from _cached("samples", found.samples)


def _task(task: TaskEntry) -> Iterator[str]:
    also = f"  (also {', '.join(task.aliases)})" if task.aliases else ""
    yield f"{task.name}  {task.title}{also}"
    for benchmark in task.benchmarks:
        yield from _benchmark(benchmark, task.items)
    data = " ".join(("--images DIR" if task.items == "images" else "--data PATH", *task.options))
    yield f"  data: {data}; synthetic without"
    for file in task.published:
        yield f"  published: {file.name}, {file.what}"
        yield f"    {file.fetched or f'loadrun fetch {task.name} --file {file.name}'}"
    yield from _cached("compiled", task.artifacts)


def _benchmark(benchmark: BenchmarkEntry, items: str) -> Iterator[str]:
    yield (
        f"  benchmark {benchmark.name}: {benchmark.metric} {benchmark.target:.6g}% over"
        f" {benchmark.samples:,} {items}, by default in {benchmark.precision}"
    )
    limit = benchmark.server_ms
    server = SERVER.name
    named = {server: server if limit is None else f"{server} within {limit:g} ms"}
    yield "    " + ", ".join(named.get(scenario, scenario) for scenario in benchmark.scenarios)
    last = {"edge": benchmark.edge, "datacenter": benchmark.datacenter}
    spans = {name: span.rpartition("-") for name, span in last.items() if span}
    closed = [" ".join((name, *first.split(), "to", to)) for name, (first, _, to) in spans.items()]
    if closed:
        yield f"    closed division: {' and '.join(closed)}, with {', '.join(benchmark.audits)}"


def _cached(what: str, entries: Sequence[CachedEntry]) -> Iterator[str]:
    if entries:
        size = sum(entry.bytes for entry in entries) / 1e6
        yield f"  {what}: {len(entries)} in the cache, {size:.0f} MB"
