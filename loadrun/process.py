"""The life of a loadrun process: segments, warm-up, settings, test, report.

Everything that can wait or compute runs in a thread of its own; the main thread sleeps until that
thread is done, something fails, or a signal comes. LoadGen cannot be stopped, so that in the two
latter cases the main thread marks the run STOPPING, removes the segments and leaves the process.

Exit codes: 0 the test completed (VALID or not: the report tells), 2 the configuration or /dev/shm
cannot be used, 4 the run failed, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from base.errors import ExitCode, InputError, TooLongError
from base.parent import die_with_parent
from loadrun.capacity import harness_efficiency, quantiles
from loadrun.clock import ClockWatch, Phase
from loadrun.config import LoadrunConfig
from loadrun.dispatch.policies import UnknownPolicyError, make_policy
from loadrun.dispatch.suspects import PoisonError
from loadrun.durations import duration
from loadrun.expected import expected_samples
from loadrun.length import check_length
from loadrun.library import LibraryError, SampleLibrary, arena_layout, open_samples
from loadrun.logs import LogError, parse_result
from loadrun.report import PhaseClock, Report
from loadrun.run_test import LogDirError, run_test
from loadrun.scenarios import MODES, SCENARIOS
from loadrun.scheduling import ask_for_short_slices
from loadrun.serving import Engine, InProcessServing, OnRecord, RingServing, Serving, unshown
from loadrun.settings import (
    Settings,
    apply_measured_rate,
    as_dict,
    expected_duration_s,
    load_settings,
    unofficial,
)
from models.samples import Prepared
from shm.arena import ArenaLayout
from shm.segment import DirectoryError, ShmError

_PR_SET_TIMERSLACK = 29
_TIMER_SLACK_NS = 1
"""Linux rounds sleeps up by 50 us unless told; LoadGen's Server sleeps between queries."""
_SWITCH_INTERVAL_S = 1e-4
"""LoadGen's thread and the completion thread pass the GIL back and forth."""

_BAD_INPUT = (
    InputError,
    LibraryError,
    LogDirError,
    UnknownPolicyError,
    DirectoryError,
)

MakeServing = Callable[[LoadrunConfig, ArenaLayout], Serving]


def main(argv: list[str]) -> int:
    """`python -m loadrun CONFIG.json`; return the exit code."""
    if len(argv) != 1:
        print("usage: python -m loadrun CONFIG.json", file=sys.stderr)
        return ExitCode.USAGE
    try:
        config = LoadrunConfig.load(argv[0])
    except InputError as error:
        print(f"loadrun: error: {error}", file=sys.stderr)
        return ExitCode.USAGE
    return run_over_rings(config)


def run_over_rings(config: LoadrunConfig) -> int:
    """Run the test of `config` with instances behind rings; return the exit code.

    To be called in the main thread of a process of its own: an interrupted or failed test ends it.
    """
    return _Run(config, RingServing).run()


def run_in_process(config: LoadrunConfig, engine: Engine, record: OnRecord = unshown) -> int:
    """Run the test of `config` with `engine` in this process; return the exit code.

    `engine(positions, arena)` is called in one thread with up to batch_size positions of the arena
    (`shm.arena.SampleArena`); it returns the answers, an array or bytes, and the bytes of each
    sample or one figure for all. `record` is given the record in which it can show its work to
    those who watch. To be called in the main thread: an interrupted or failed test ends the
    process.
    """

    def make(config: LoadrunConfig, layout: ArenaLayout) -> Serving:
        return InProcessServing(config, layout, engine, record)

    return _Run(config, make).run()


class _Run:
    def __init__(self, config: LoadrunConfig, make_serving: MakeServing) -> None:
        self._config = config
        self._make_serving = make_serving
        self._report = Report(config.report, scenario=config.scenario, mode=config.mode)
        self._clock = PhaseClock(self._report.timings_s)
        self._failure: BaseException | None = None
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    def run(self) -> int:
        prepare_process(self._config)
        with _signals_to(self._wake_write):
            try:
                settings, samples, serving = self._open()
            except (*_BAD_INPUT, ShmError) as error:
                return self._failed(error)
            body = threading.Thread(
                target=self._guarded, args=(settings, samples, serving), name="test", daemon=True
            )
            body.start()
            interrupted = self._sleep(body)
            if interrupted or self._failure is not None:
                serving.abort()
                code = self._ended_early(interrupted)
                if body.is_alive():
                    # LoadGen still waits in there and would keep the interpreter from ending.
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code)
                return code
        return ExitCode.OK

    def _open(self) -> tuple[Settings, Prepared, Serving]:
        config = self._config
        make_policy(config.policy, 1, 1)
        settings = load_settings(config)
        samples = open_samples(config.samples, config.sample_count)
        layout = arena_layout(samples, settings.performance_sample_count)
        serving = self._make_serving(config, layout)
        self._clock.mark("create")
        return settings, samples, serving

    def _sleep(self, body: threading.Thread) -> bool:
        """Wait for the body's end, a failure or a signal; return whether it was a signal."""
        while True:
            # The timeout is for a thread that dies without a word.
            if select.select([self._wake_read], [], [], 1.0)[0]:
                told = os.read(self._wake_read, 64)
                if told.strip(b"\0"):
                    return True
                body.join(0 if self._failure is not None else 0.1)
            if self._failure is not None or not body.is_alive():
                return False

    def _wake(self) -> None:
        # Signals arrive here as their numbers; 0 is none.
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    def _fail(self, error: BaseException) -> None:
        """Note the first failure, from any thread, and wake the main thread."""
        if self._failure is None:
            self._failure = error
        self._wake()

    def _guarded(self, settings: Settings, samples: Prepared, serving: Serving) -> None:
        try:
            self._test(settings, samples, serving)
        except BaseException as error:
            self._fail(error)
        self._wake()

    def _test(self, settings: Settings, samples: Prepared, serving: Serving) -> None:
        config, report = self._config, self._report
        clock = ClockWatch()
        library = SampleLibrary(samples, serving.arena, clock)
        library.load_for_warm_up()
        serving.load()
        self._clock.mark("load")
        rates = serving.warm_up()
        library.unload_all()
        if library.costs is not None:
            settings.costs = quantiles(library.relative.tolist())
        rate = sum(rates)
        self._clock.mark("warm_up")
        apply_measured_rate(settings, config, rate)
        report.measured_rate = rate
        report.target_source = settings.target_source
        report.mode = settings.mode
        report.settings = as_dict(settings.effective)
        report.expected_duration_s = expected_duration_s(settings, config, rate)
        report.expected_samples = expected_samples(settings, config)
        report.unofficial = unofficial(settings)
        report.notes = settings.notes
        if not config.any_length:
            check_length(settings, config, rate)
        report.status = "RUNNING"
        report.write()
        self._say()
        sut = serving.start(library, settings, self._fail)
        before_s = time.process_time()
        with clock, quiet_interpreter():
            run_test(sut, library, settings.test, config.log_dir, config.audit_config, self._fail)
        report.processor_s = time.process_time() - before_s
        report.duration_s = self._clock.mark("test")
        report.clock = [asdict(phase) for phase in measured_phases(clock.phases, report.mode)]
        serving.stop()
        self._clock.mark("stop")
        self._finish(serving, library.mean_cost)

    def _finish(self, serving: Serving, mean_cost: float) -> None:
        report = self._report
        report.instances, report.redispatched = serving.counts()
        report.timeline = serving.timeline()
        result = parse_result(self._config.log_dir)
        report.loadgen = {key: value for key, value in asdict(result).items() if key != "fields"}
        if SCENARIOS[result.scenario].at_once and result.metric and report.measured_rate:
            report.harness_efficiency = harness_efficiency(
                result.metric.value, report.measured_rate, mean_cost
            )
        report.status = "COMPLETE"
        report.write()

    def _say(self) -> None:
        report = self._report
        rate = f"{report.measured_rate:.4g} samples/s measured at warm-up"
        expected = report.expected_duration_s
        took = "unknown" if expected is None else duration(expected)
        print(f"loadrun: {rate}; expected duration {took}", flush=True)
        for note in report.notes:
            print(f"loadrun: {note}", flush=True)

    def _ended_early(self, interrupted: bool) -> int:
        if not interrupted and self._failure is not None:
            return self._failed(self._failure)
        self._report.status = "INTERRUPTED"
        self._write_report()
        return ExitCode.INTERRUPTED

    def _failed(self, error: BaseException) -> int:
        known = (*_BAD_INPUT, ShmError, LogError, RuntimeError)
        message = str(error) if isinstance(error, known) else f"{type(error).__name__}: {error}"
        self._report.status = "FAILED"
        self._report.error = message
        if isinstance(error, PoisonError):
            self._report.poison = {"samples": error.samples, "deaths": error.deaths}
        self._report.too_long = isinstance(error, TooLongError)
        self._write_report()
        print(f"loadrun: error: {message}", file=sys.stderr)
        return ExitCode.USAGE if isinstance(error, _BAD_INPUT) else ExitCode.FAILED

    def _write_report(self) -> None:
        # The run ends all the same where its directory is gone.
        with contextlib.suppress(OSError):
            self._report.write()


def measured_phases(phases: list[Phase], mode: str) -> list[Phase]:
    """Return those of the phases of a test, in order, whose times are its figure."""
    parts = MODES[mode]
    if parts.accuracy_only:
        return []
    # The performance test of a SubmissionRun comes last.
    return phases[-1:] if parts.accuracy else phases


def prepare_process(config: LoadrunConfig) -> None:
    """Die with the parent, be woken in time, and run on the processors of `config`."""
    # launch may be killed; its SIGKILL reaches nobody else.
    die_with_parent()
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, _TIMER_SLACK_NS, 0, 0, 0)
    ask_for_short_slices()
    if config.processors is not None:
        try:
            os.sched_setaffinity(0, config.processors)
        except OSError as error:
            listed = ",".join(map(str, config.processors))
            print(f"loadrun: cannot run on processors {listed}: {error.strerror}", file=sys.stderr)


@contextlib.contextmanager
def _signals_to(descriptor: int) -> Iterator[None]:
    """Let SIGINT and SIGTERM write their number to `descriptor`, and do nothing else.

    A SIGINT that this process was started to ignore stays ignored; SIGTERM is how launch ends it.
    """
    heeds = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    watched = (signal.SIGINT, signal.SIGTERM) if heeds else (signal.SIGTERM,)
    before: list[Any] = [signal.signal(number, lambda *_: None) for number in watched]
    old = signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in zip(watched, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def quiet_interpreter() -> Iterator[None]:
    """No garbage collection in the test, and quick turns between its two threads."""
    interval = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.enable()
        gc.unfreeze()
