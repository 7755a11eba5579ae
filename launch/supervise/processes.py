"""Child processes: started bound to their processors, with a log, and ended in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from base.errors import RunError
from base.parent import PARENT
from base.text import FOREIGN
from launch.machine.pinning import Pinning
from launch.supervise.signals import Signals

LAST_LINES = 8
DESCENDANTS_LEAVE_S = 2.0


@dataclass
class Child:
    """A process of ours: `name` as the user reads it, `log` what it prints."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Its process id; numactl executes the command in place, so this is the command's own."""
        return self.process.pid

    def ended(self) -> int | None:
        """The return code (negative: killed by that signal), None while it runs."""
        return self.process.poll()

    @property
    def seen_to_end(self) -> bool:
        """Whether `ended` has reported its end: from then on its process id may be another's."""
        return self.process.returncode is not None

    def last_words(self) -> str:
        """The last lines of its log, empty when it printed nothing."""
        return last_lines(self.log)


def start(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    pinning: Pinning | None = None,
    processors: Sequence[int] = (),
    memory_node: int | None = None,
) -> Child:
    """Start `command` in the directory of its log, bound as asked, as its own process group.

    The group keeps a Ctrl-C of the terminal away from it: only the supervisor ends a run. The
    directory holds nothing that Python could take for one of our packages. RunError when it
    cannot be started.
    """
    words = list(command)
    binding: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if pinning is not None and processors:
        words = [*pinning.prefix(processors, memory_node), *words]
        binding = pinning.around_start(processors)
    try:
        with log.open("ab") as output, binding:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env={**environment, PARENT: str(os.getpid())},
                start_new_session=True,
            )
    except OSError as error:
        raise RunError(f"cannot start {name}: {error}") from None
    return Child(name, process, log)


def end_all(children: Iterable[Child], signals: Signals, *, patience_s: float) -> None:
    """End every child and its descendants: SIGTERM, `patience_s` to leave, then SIGKILL.

    A second ending signal means that the user has no patience.
    """
    living = [child for child in children if child.ended() is None]
    for child in living:
        _signal_group(child, signal.SIGTERM)
        # One that is stopped would not notice.
        _signal_group(child, signal.SIGCONT)
    wait_all(living, signals, timeout_s=patience_s, until_count=2)
    for child in living:
        if child.ended() is not None:
            # What it started (a pool's workers, the process that removes a pool's semaphores)
            # ends because of it, a moment later.
            _await_empty_group(child, DESCENDANTS_LEAVE_S)
        _signal_group(child, signal.SIGKILL)
        child.process.wait()


def kill(child: Child) -> None:
    """Kill the child and its descendants; its end is noticed like any other."""
    _signal_group(child, signal.SIGKILL)


def wait_all(
    children: Iterable[Child], signals: Signals, *, timeout_s: float, until_count: int | None = None
) -> bool:
    """Wait until all have ended; False when `timeout_s` or the `until_count`-th signal came."""
    deadline = time.monotonic() + timeout_s
    living = list(children)
    while living := [child for child in living if child.ended() is None]:
        left = deadline - time.monotonic()
        if left <= 0 or (until_count is not None and signals.count >= until_count):
            return False
        signals.wait(min(left, 0.25))
    return True


def last_lines(path: Path, count: int = LAST_LINES) -> str:
    """The last `count` lines that are not empty, read from the file's end."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 8192, 0))
            text = file.read().decode(errors=FOREIGN)
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])


def describe_end(code: int) -> str:
    """A return code in words."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"
    return f"ended with exit code {code}"


def error_line(words: str) -> str | None:
    """What the last line of the form ``...error: TEXT`` says; None where there is none."""
    for line in reversed(words.splitlines()):
        _, mark, text = line.partition("error: ")
        if mark:
            return text
    return None


def _await_empty_group(child: Child, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            os.killpg(child.pid, 0)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.01)


def _signal_group(child: Child, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
