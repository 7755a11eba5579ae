"""One LoadGen test around a system under test and a sample library.

LoadGen calls back in the thread that starts the test, with the GIL taken for the call; in between,
and while it waits for the last answers, it does not hold the GIL. It cannot be stopped: a callback
that fails can only tell, and the process has to end.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlperf_loadgen as lg

from loadrun.library import SampleLibrary
from loadrun.sut import SystemUnderTest

OnFailure = Callable[[BaseException], None]


class LogDirError(ValueError):
    """LoadGen cannot write its logs there."""


def run_test(
    sut: SystemUnderTest,
    library: SampleLibrary,
    settings: lg.TestSettings,
    log_dir: str | Path,
    audit_config: str | None,
    on_failure: OnFailure,
) -> None:
    """Run one test; LoadGen's logs go to `log_dir`, which is made.

    An exception in a callback goes to `on_failure`; LoadGen then waits for answers that never
    come, and this function does not return. Raises LogDirError beforehand.
    """
    directory = Path(log_dir)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "mlperf_log_detail.txt").write_text("", encoding="utf-8")
    except OSError as error:
        raise LogDirError(f"cannot write LoadGen's logs to {log_dir}: {error.strerror}") from None
    guard = _Guard(on_failure)
    log_settings = lg.LogSettings()
    # As bytes: the binding takes no name that is not UTF-8 otherwise.
    log_settings.log_output.outdir = os.fsencode(directory)
    log_settings.enable_trace = False
    sut_handle = lg.ConstructFastSUT(guard(sut.issue), guard(sut.flush))
    qsl_handle = lg.ConstructQSL(
        library.total_sample_count,
        library.performance_sample_count,
        guard(library.load),
        guard(library.unload),
    )
    try:
        # An empty name: LoadGen would otherwise pick up any audit.config in the current directory.
        lg.StartTestWithLogSettings(
            sut_handle, qsl_handle, settings, log_settings, os.fsencode(audit_config or "")
        )
    finally:
        lg.DestroyQSL(qsl_handle)
        lg.DestroyFastSUT(sut_handle)
    # LoadGen opens this file whether or not it traces.
    with contextlib.suppress(FileNotFoundError):
        (directory / "mlperf_log_trace.json").unlink()


class _Guard:
    """Keeps exceptions out of LoadGen, which would end the process without a word."""

    def __init__(self, on_failure: OnFailure) -> None:
        self._on_failure = on_failure
        self._failed = False

    def __call__(self, callback: Callable[..., None]) -> Callable[..., None]:
        def guarded(*arguments: Any) -> None:
            if self._failed:
                return
            try:
                callback(*arguments)
            except BaseException as error:
                self._failed = True
                self._on_failure(error)

        return guarded
