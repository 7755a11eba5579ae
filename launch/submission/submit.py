"""A submission from the present runs to a checked tree: plan, runs, assembly, checker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import models
from base.errors import ExitCode
from launch.compliance.audit import audit, judge
from launch.machine.topology import read_topology
from launch.options import RunOptions
from launch.outcome.results import file_abandoned
from launch.run import run
from launch.screen.terminal import Terminal
from launch.submission import rules
from launch.submission.checker import check
from launch.submission.layout import Layout
from launch.submission.steps import NOT_JUDGED, Step, estimate_s, find_steps, known_rate
from launch.submission.system import unlike_here
from launch.submission.tree import write_tree
from loadrun.durations import duration


@dataclass(frozen=True)
class Submission:
    """The submission: `runs` are the options of each model and scenario.

    `samples` is the size of the data set where it is known, `checker` the checker's script.
    """

    layout: Layout
    system: dict[str, Any]
    runs: list[RunOptions]
    samples: int | None
    checker: Path | None
    dry_run: bool

    def tests(self, options: RunOptions) -> tuple[str, ...]:
        """The compliance tests that one of the runs needs."""
        return rules.tests(self.layout.division, models.benchmark(options.model), options.round)


def submit(submission: Submission) -> ExitCode:
    """Run what the tree lacks, assemble, check; exit code 3 where something stands against it."""
    terminal = Terminal()
    if not submission.dry_run:
        # What a killed run had finished counts.
        for results in {options.results for options in submission.runs}:
            file_abandoned(results)
    _show_plan(submission, terminal)
    if submission.dry_run:
        return ExitCode.OK
    failed: list[str] = []
    for options in submission.runs:
        failed += _make(options, submission.tests(options), terminal)
    terminal.line()
    if failed:
        terminal.lines(f"against a submission: {subject}" for subject in failed)
        terminal.line("what passed is kept: the same command makes the rest again")
        return ExitCode.INVALID
    against = write_tree(submission.layout, submission.system, submission.runs)
    terminal.line(f"submission: {submission.layout.root}")
    if against:
        terminal.box("NOT SUBMITTABLE", "\n".join(against))
    return _check(submission, terminal)


def _show_plan(submission: Submission, terminal: Terminal) -> None:
    layout = submission.layout
    terminal.line(f"{layout.division}, {submission.system['system_type']}, round {layout.round}")
    for field, given, found in unlike_here(submission.system, read_topology()):
        terminal.line(f"  note: {field} is '{given}' in the description, here it is '{found}'")
    total, unknown = 0.0, 0
    for options in submission.runs:
        rate = known_rate(options)
        for step in find_steps(options, submission.tests(options)):
            if not step.missing:
                terminal.line(f"  {step.subject:<40} there")
                continue
            seconds = estimate_s(step, rate, submission.samples)
            total, unknown = total + (seconds or 0.0), unknown + (seconds is None)
            length = "not known yet how long" if seconds is None else f"about {_about(seconds)}"
            terminal.line(f"  {step.subject:<40} {length} ({step.missing})")
    more = f", and {unknown} of unknown length" if unknown else ""
    terminal.line(f"to be run: about {_about(total)}{more}")


def _make(options: RunOptions, tests: tuple[str, ...], terminal: Terminal) -> list[str]:
    """Make the runs of one model and scenario that are missing; returns those that failed.

    The missing runs are determined before each run anew: one that is repeated outdates others.
    """
    failed: list[str] = []
    tried: set[str] = set()
    while step := _next(find_steps(options, tests), tried):
        tried.add(step.name)
        if step.options.audit:
            unaudited = replace(step.options, audit=None)
            if step.missing == NOT_JUDGED:
                passed = judge(unaudited, step.options.audit, terminal, terminal)
            else:
                passed = audit(unaudited, [step.options.audit]) is ExitCode.OK
        else:
            passed = run(step.options) is ExitCode.OK
        if not passed:
            failed.append(f"{step.subject} {'failed' if step.options.audit else 'is INVALID'}")
            if not step.options.audit:
                break
    if not failed:
        for step in find_steps(options, tests):
            if step.missing:
                terminal.line(f"  note: {step.subject}: still {step.missing}")
    return failed


def _next(steps: list[Step], tried: set[str]) -> Step | None:
    return next((step for step in steps if step.missing and step.name not in tried), None)


def _check(submission: Submission, terminal: Terminal) -> ExitCode:
    if submission.checker is None:
        terminal.line("not checked: --checker DIR names a checkout of mlcommons/inference")
        return ExitCode.OK
    log = checker_log(submission.layout)
    names = list(dict.fromkeys(options.model for options in submission.runs))
    found = check(submission.checker, submission.layout, log, names)
    for complaint in found.complaints:
        more = f" (and {complaint.places - 1} like it)" if complaint.places > 1 else ""
        terminal.line(f"checker: {complaint.text}{more}")
        terminal.line(f"  cure: {complaint.cure}")
    verdict = "the submission looks OK" if found.passed else "the submission has errors"
    terminal.line(f"submission checker, {submission.layout.round}: {verdict} ({log})")
    return ExitCode.OK if found.passed else ExitCode.INVALID


def checker_log(layout: Layout) -> Path:
    """Where what the checker says is kept: beside the tree."""
    return layout.root.with_name(f"{layout.root.name}-checker.log")


def _about(seconds: float) -> str:
    return duration(seconds if seconds < 60 else 60 * round(seconds / 60))
