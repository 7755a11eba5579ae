"""`loadrun doctor`: what about this machine changes results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launch.machine.topology import Topology

SUMMARY = "check the machine: what changes results, and the command that cures it"
DESCRIPTION = """\
Checks processor, kernel, shared memory, tools, packages, compiled models and leftovers. Each
finding is "ok", a "note", or "matters"; the last two say their effect on results and the cure.
Nothing is changed. Commands of cures are for root where they write to /proc, /sys or mount.
"""
EPILOG = """\
examples:
  loadrun doctor
  loadrun doctor --json | jq '.findings[] | select(.level == "matters")'
  loadrun doctor --system my-server.json

exit codes: 0 nothing matters; 3 something does; 2 bad usage; 130 interrupted.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --json and --system."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument(
        "--system",
        metavar="FILE",
        help="instead write this machine's description for a submission (loadrun submit), and name"
        " the fields that a person must fill",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Check everything and show it."""
    import json
    import sys
    from dataclasses import asdict

    from base.errors import ExitCode
    from launch.build.cache import cache_directory
    from launch.machine.doctor.artifacts import check_artifacts
    from launch.machine.doctor.finding import Level
    from launch.machine.doctor.loading import check_loading
    from launch.machine.doctor.machine import check_machine
    from launch.machine.doctor.noise import check_noise
    from launch.machine.doctor.system import check_system
    from launch.machine.host import host, versions
    from launch.machine.pinning import find_pinning
    from launch.machine.topology import read_topology
    from launch.screen.terminal import Terminal

    topology = read_topology()
    if arguments.system:
        return _describe(Path(arguments.system), topology)
    pinning = find_pinning(topology)
    findings = [
        *check_machine(topology),
        *check_system(topology, pinning),
        *check_loading(),
        *check_artifacts(cache_directory()),
        *check_noise(topology),
    ]
    matter = [finding for finding in findings if finding.level is Level.MATTERS]
    if arguments.json:
        document = {
            "findings": [asdict(finding) for finding in findings],
            "host": asdict(host(topology)),
            "versions": versions(),
        }
        print(json.dumps(document, indent=1))
    else:
        terminal = Terminal(sys.stdout)
        for finding in findings:
            terminal.line(f"{finding.level.upper():<8} {finding.check}: {finding.found}")
            if finding.level is not Level.OK:
                terminal.line(f"         effect: {finding.effect}")
                terminal.line(f"         cure:   {finding.cure}")
        terminal.line()
        terminal.line(f"{len(matter)} of {len(findings)} checks matter for results")
    return ExitCode.INVALID if matter else ExitCode.OK


def _describe(path: Path, topology: Topology) -> int:
    """Write systems/<system>.json of a submission; what a person has filled in stays."""
    from base.errors import ExitCode, InputError
    from launch.outcome.results import read_json, write_json
    from launch.submission.system import describe, unfilled

    description = describe(topology)
    if path.exists():
        known = read_json(path)
        if known is None:
            raise InputError(f"--system {path}: there already, and no JSON object; name another")
        description |= {name: value for name, value in known.items() if str(value).strip()}
    try:
        write_json(path, description)
    except OSError as error:
        raise InputError(f"--system {path}: {error.strerror}") from None
    empty = unfilled(description)
    print(f"{path}: {len(description)} fields" + (f"; fill {', '.join(empty)}" if empty else ""))
    return ExitCode.OK
