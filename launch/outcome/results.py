"""Where results stand, and how they get there whole.

A run writes into ``<results>/<scenario>/<model>/.staging-<run id>/``, which it keeps locked. At its
end the directory takes its place by rename::

    <scenario>/<model>/performance/run_1/   PerformanceOnly and SubmissionRun
    <scenario>/<model>/accuracy/            AccuracyOnly and SubmissionRun
    <scenario>/<model>/findpeak/            FindPeakPerformance
    <scenario>/<model>/TEST01/...           the same below the name of an audit
    <scenario>/<model>/failed/<run id>/     a run that failed or was interrupted

and the newest logs and run.json also stand in ``<scenario>/<model>/`` itself. A staging directory
that nobody locks belongs to a run that was killed; the next run files it under ``failed``, or in
its place where the run was complete already. Directories change places under a lock on
``<scenario>/<model>/``, so that two runs that end together do not meet.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
from base.checked import read
from base.errors import InputError
from base.files import write_text, written_aside
from base.locks import lock
from launch.compliance.settings import AUDITS
from launch.outcome.writable import try_file, try_folder
from loadrun.report import as_text
from loadrun.scenarios import (
    ACCURACY_ONLY,
    FIND_PEAK_PERFORMANCE,
    PERFORMANCE_ONLY,
    SUBMISSION_RUN,
)

STAGING = ".staging-"
COPY = ".copy"
PROBE = ".probe"
OLD = ".old-"
RESULTS = "results directory"
COMPLETE, FAILED, INTERRUPTED = "COMPLETE", "FAILED", "INTERRUPTED"
"""How a run can have ended (`status` of run.json)."""
RUN_JSON = "run.json"
REPORT = "report.html"
"""The run's page; a run counts without it."""
ACCURACY_LOG = "mlperf_log_accuracy.json"
UNWRITTEN_S = 60.0
"""Age from which a staging directory without a run.json is no run that just starts."""
LOGS = (
    "mlperf_log_summary.txt",
    "mlperf_log_detail.txt",
    ACCURACY_LOG,
    RUN_JSON,
    REPORT,
)
PLACES = {
    PERFORMANCE_ONLY.name: ("performance/run_1",),
    ACCURACY_ONLY.name: ("accuracy",),
    SUBMISSION_RUN.name: ("performance/run_1", "accuracy"),
    FIND_PEAK_PERFORMANCE.name: ("findpeak",),
}


def home(results: Path, scenario: str, model: str) -> Path:
    """Return where the results of a scenario and model stand."""
    return results / scenario.lower() / models.label(model).lower()


def places(home: Path, mode: str, audit: str | None = None) -> list[Path]:
    """Return where a run of that mode, or that audit, goes below `home`."""
    base = home / audit if audit else home
    return [base / place for place in PLACES[mode]]


class Staging:
    """The directory that a run writes into; a context manager that holds its lock."""

    def __init__(self, results: Path, run_id: str, scenario: str, model: str) -> None:
        self.run_id = run_id
        self.home = home(results, scenario, model)
        self.path = self.home / f"{STAGING}{run_id}"
        self._lock: int | None = None
        above = (self.home, self.home.parent, results)
        self._created = [directory for directory in above if not directory.exists()]

    def __enter__(self) -> Staging:
        try:
            self.path.mkdir(parents=True)
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise InputError(
                f"{RESULTS} {self.home}: {error.strerror} (choose another with --results)"
            ) from None
        lock(self._lock, self.home)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
        shutil.rmtree(self.path, ignore_errors=True)
        for directory in self._created:
            # Gone again where nothing came of it.
            with contextlib.suppress(OSError):
                directory.rmdir()

    def try_places(self, mode: str, audit: str | None) -> None:
        """Raise InputError unless `publish` can put this directory where it goes."""
        cure = "choose another with --results"
        found = places(self.home, mode, audit)
        for place in found:
            try_folder(place, RESULTS, cure)
            probe = self.path / PROBE
            target = place.parent / f"{PROBE}-{self.run_id}"
            above = [directory for directory in place.parents if not directory.exists()]
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                probe.mkdir()
                # To another file system nothing can be renamed.
                probe.rename(target)
                target.rmdir()
            except OSError as error:
                raise InputError(f"{RESULTS} {place}: {error.strerror} ({cure})") from None
            finally:
                for directory in (probe, target, *above):
                    with contextlib.suppress(OSError):
                        directory.rmdir()
        if audit is None:
            for name in LOGS:
                try_file(self.home / name, RESULTS, cure)

    def write_record(self, record: dict[str, Any]) -> None:
        """Write run.json, whole."""
        write_json(self.path / RUN_JSON, record)

    def publish(self, mode: str, audit: str | None) -> list[Path]:
        """Move the directory to its places and renew the newest logs; returns the places."""
        with _alone_in(self.home):
            return _publish(self.path, mode, audit)

    def keep_failed(self) -> Path:
        """Move the directory below ``failed``; returns where it is now."""
        with _alone_in(self.home):
            return _keep_failed(self.path)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` as JSON to `path`, whole."""
    write_text(path, as_text(value))


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object that a file holds; None where there is none to read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def file_abandoned(results: Path) -> list[Path]:
    """File what killed runs left in `results` where it belongs; returns the new places.

    What belongs to another user is left alone.
    """
    filed: list[Path] = []
    for home in sorted(results.glob("*/*")):
        with contextlib.suppress(OSError), _alone_in(home):
            for depth in ("", "*/", "*/*/"):
                for old in home.glob(f"{depth}.*{OLD}*"):
                    _restore(old)
            for directory in sorted(home.glob(f"{STAGING}*")):
                with _locked(directory) as ours:
                    if ours:
                        filed += _file(directory)
    return filed


@dataclass(frozen=True)
class _Ending:
    """What of a record says where its run belongs; the rest may be of any version."""

    status: str
    mode: str
    audit: str | None


def _file(directory: Path) -> list[Path]:
    """Find a place for the staging directory of a run that was killed."""
    try:
        ending = read(_Ending, json.loads((directory / RUN_JSON).read_bytes()))
    except FileNotFoundError:
        if time.time() - directory.stat().st_mtime > UNWRITTEN_S:
            shutil.rmtree(directory, ignore_errors=True)
        return []
    except (OSError, ValueError, RecursionError):
        return [_keep_failed(directory)]
    known = ending.mode in PLACES and ending.audit in (None, *AUDITS)
    if ending.status == COMPLETE and known:
        return _publish(directory, ending.mode, ending.audit)
    return [_keep_failed(directory)]


def _publish(directory: Path, mode: str, audit: str | None) -> list[Path]:
    home = directory.parent
    first, *others = found = places(home, mode, audit)
    # Inside, so that a half copy shares the fate of its source.
    copy = directory / COPY
    shutil.rmtree(copy, ignore_errors=True)
    for place in others:
        shutil.copytree(directory, copy, ignore=shutil.ignore_patterns(COPY))
        replace_folder(copy, place)
    replace_folder(directory, first)
    if not audit:
        _renew_newest(first, home)
    return found


def _keep_failed(directory: Path) -> Path:
    place = directory.parent / "failed" / directory.name.removeprefix(STAGING)
    replace_folder(directory, place)
    return place


def _renew_newest(source: Path, home: Path) -> None:
    for name in LOGS:
        log = source / name
        # A performance run leaves an accuracy log that holds nothing: the last real one stays.
        if not log.exists() or (name == ACCURACY_LOG and _holds_nothing(log)):
            continue
        with written_aside(home / name) as aside:
            shutil.copyfile(log, aside)


@contextlib.contextmanager
def _alone_in(home: Path) -> Iterator[None]:
    """Hold the lock under which directories of `home` change places."""
    handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        lock(handle, home)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[bool]:
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield False
        return
    try:
        # Without locks nobody knows whether its run still lives: it is left alone.
        yield lock(handle, directory.parent, wait=False)
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def replace_folder(source: Path, place: Path) -> None:
    """Put the directory `source` in the place of `place`, which may exist."""
    place.parent.mkdir(parents=True, exist_ok=True)
    old = place.parent / f".{place.name}{OLD}{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        place.rename(old)
    source.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _restore(old: Path) -> None:
    """Undo or finish a replacement during which its process was killed."""
    place = old.parent / old.name[1:].rpartition(OLD)[0]
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.rename(place)


def _holds_nothing(log: Path) -> bool:
    """LoadGen writes an empty list where it logs no answers."""
    with log.open("rb") as file:
        return not file.read(64).strip(b"[] \r\n\t")
