"""`loadrun doctor`: what about this machine changes results."""

from __future__ import annotations

import argparse

SUMMARY = "check the machine: what changes results, and the command that cures it"
DESCRIPTION = """\
Checks processor, kernel, shared memory, tools, packages and leftovers. Each finding is "ok", a
"note", or "matters"; the last two say their effect on results and the cure. Nothing is changed.
Commands of cures are for root where they write to /proc, /sys or mount.
"""
EPILOG = """\
examples:
  loadrun doctor
  loadrun doctor --json | jq '.findings[] | select(.level == "matters")'

exit codes: 0 nothing matters; 3 something does; 2 bad usage; 130 interrupted.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Check everything and show it."""
    import json
    import sys
    from dataclasses import asdict

    from launch.doctor.finding import Level
    from launch.doctor.machine import check_machine
    from launch.doctor.noise import check_noise
    from launch.doctor.system import check_system
    from launch.errors import ExitCode
    from launch.host import host, versions
    from launch.pinning import find_pinning
    from launch.terminal import Terminal
    from launch.topology import read_topology

    topology = read_topology()
    pinning = find_pinning(topology)
    findings = [*check_machine(topology), *check_system(topology, pinning), *check_noise(topology)]
    matter = [finding for finding in findings if finding.level is Level.MATTERS]
    if arguments.json:
        document = {
            "findings": [asdict(finding) for finding in findings],
            "host": host(topology),
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
