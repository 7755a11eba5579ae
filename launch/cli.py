"""The `loadrun` command."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import sys
import textwrap
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from base.errors import ExitCode, LoadrunError
from launch.screen.streams import prepare_streams
from launch.spellings import INSTEAD, hyphenated, take
from launch.supervise.signals import end_at_once, ignore_endings

COMMANDS = (
    "run",
    "run-all",
    "single-stream",
    "run-local",
    "accuracy",
    "audit",
    "submit",
    "fetch",
    "preprocess",
    "calibrate",
    "build",
    "roofline",
    "topology",
    "tune",
    "find-qps",
    "report",
    "models",
    "doctor",
    "clean",
    "completion",
)
DESCRIPTION = """\
MLPerf Inference on CPUs: LoadGen in one process, int8 networks in N pinned worker processes,
shared-memory rings between them. Nothing has to be prepared: what a test needs is built once, and
without weights and images an embedded synthetic model is served.
"""
EPILOG = """\
examples:
  loadrun run resnet50 --fast                      # a first test: Offline, a minute
  loadrun run resnet50 --scenario server --instances 14 --cores 56
  loadrun doctor                                   # what about this machine changes results
  loadrun run --help                               # every command has options and examples

exit codes: 0 VALID, or done; 2 bad usage, configuration or input; 3 completed and INVALID, or
something was found; 4 failed, logs are kept; 130 interrupted.

environment: LOADRUN_WEIGHTS, LOADRUN_DATA, LOADRUN_IMAGES, LOADRUN_LABELS and LOADRUN_CALIBRATION
stand for the options of these names, LOADRUN_CACHE is where what was built is kept
(~/.cache/loadrun). MLPERF_SCRATCH_PATH holds models/, data/ and preprocessed_data/ for all of them.
"""


class Parser(argparse.ArgumentParser):
    """Reports an error in one line, and never guesses at abbreviations.

    `summary` is the line that the list of commands has for it.
    """

    summary = ""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 2."""
        message = message.removeprefix("argument ")
        self.exit(ExitCode.USAGE, f"loadrun: error: {message}. Try '{self.prog.strip()} --help'\n")


class Version(argparse.Action):
    """Prints the version; it is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        """Print it and exit."""
        from launch.machine.host import versions

        print(f"loadrun {versions().get('loadrun', 'not installed')}")
        parser.exit(0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (base.errors.ExitCode).

    Without `argv` it is the whole of this process: signals are seen to from its start to its end.
    """
    # Whatever the user's umask is: results and caches are read as they stand, so that nobody else
    # may write them.
    os.umask(os.umask(0o077) | 0o002)
    words = [hyphenated(word) for word in (sys.argv[1:] if argv is None else argv)]
    if argv is not None:
        return _run(words)
    prepare_streams()
    end_at_once()
    _pass_on_notes()
    try:
        return _run(words)
    except BrokenPipeError:
        # Whoever read what it says has read enough.
        return ExitCode.FAILED
    except (ImportError, OSError, MemoryError) as error:
        if (reason := _of_surroundings(error)) is None:
            raise
        _say(f"error: {reason}")
        return ExitCode.USAGE
    finally:
        ignore_endings()
        _let_go_of_a_closed_terminal()


def _run(words: list[str]) -> int:
    parser, commands = parsers()
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        near = get_close_matches(words[0], COMMANDS, 1, 0.0)
        parser.error(f"unknown command '{words[0]}' (nearest: {near[0]})")
    arguments, unknown = parser.parse_known_args(words)
    if arguments.command is None:
        parser.print_help()
        return ExitCode.USAGE
    if unknown:
        _refuse(commands[arguments.command], unknown)
    try:
        return int(arguments.execute(arguments))
    except LoadrunError as error:
        _say(f"{_kind(error)}{error}")
        return error.code
    finally:
        _let_go_of_a_closed_terminal()


def _pass_on_notes() -> None:
    """Say at once what `models` warns of in this process."""
    handler = logging.Handler()
    handler.emit = lambda record: _say(f"note: {record.getMessage()}")  # type: ignore[method-assign]
    for package in ("base", "models"):
        logging.getLogger(package).addHandler(handler)


def _of_surroundings(error: Exception) -> str | None:
    """Describe an error of the surroundings in one line; None for a fault of loadrun's own."""
    from launch.machine.limits import no_memory
    from launch.outcome.room import describe_error
    from models.packages import cannot_load

    reason = cannot_load(error) or no_memory(error)
    if reason is not None or not isinstance(error, OSError):
        return reason
    try:
        Path.cwd()
    except OSError:
        return "the current directory is no longer there (cure: cd to another)"
    if "temporary directory" in str(error):
        return f"{describe_error(error)} (cure: export TMPDIR=DIR)"
    return describe_error(error)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"loadrun: {text}", file=sys.stderr, flush=True)


def _let_go_of_a_closed_terminal() -> None:
    """Python would end with an exit code of its own for what it cannot write any more."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:  # closed, and this is no process of our own
            continue
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps names such as ssd-resnet34 in one piece, for whoever copies them."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


def parsers() -> tuple[Parser, dict[str, Parser]]:
    """The parser of `loadrun`, and those of its commands by name."""
    parser = Parser(
        prog="loadrun",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=Formatter,
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    commands = {}
    for name in COMMANDS:
        module: ModuleType = importlib.import_module(f"launch.commands.{name.replace('-', '_')}")
        command = subparsers.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=Formatter,
        )
        module.add_arguments(command)
        take(command)
        command.set_defaults(execute=module.execute)
        command.summary = module.SUMMARY
        commands[name] = command
    return parser, commands


def _refuse(command: Parser, unknown: list[str]) -> NoReturn:
    """Name the first word that nothing accepts, with what it is here, else the nearest option."""
    option = next((word for word in unknown if word.startswith("-")), None)
    if option is None:
        command.error(f"unexpected argument '{unknown[0]}'")
    name = option.split("=", 1)[0]
    if name in INSTEAD:
        command.error(f"unknown option '{name}' (here: {INSTEAD[name]})")
    near = get_close_matches(name, command._option_string_actions, 1, 0.0)
    command.error(f"unknown option '{name}' (nearest: {near[0]})")


def _kind(error: LoadrunError) -> str:
    return "" if error.code is ExitCode.INTERRUPTED else "error: "


if __name__ == "__main__":
    sys.exit(main())
