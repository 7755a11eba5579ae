"""Find the highest VALID Server target_qps by real runs, and write it down."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import models
from base.errors import ExitCode, InputError, InterruptedRunError, RunError
from launch.options import RunOptions, Sources
from launch.outcome.record.run import Record
from launch.outcome.results import RESULTS, write_json
from launch.outcome.writable import try_file
from launch.qps.search import Peak, Stopped, search_peak
from launch.qps.section import try_setting, write_setting
from launch.screen.terminal import Terminal
from launch.supervise.signals import Signals
from launch.trial import run_once, without_targets
from loadrun.scenarios import FIND_PEAK_PERFORMANCE, PERFORMANCE_ONLY, SERVER, Mode
from loadrun.user_conf import UserConfError, parse_user_conf

RESULT = "find-qps.json"
GROWTH = 1.3
HOPELESS = 0.05
"""Below this share of the first rate the search ends: no rate holds."""


@dataclass(frozen=True)
class QpsOptions:
    """A search as the user asked for it; `words` are the options that every run is given.

    `conf` is the benchmark's key in user.conf. `durations` in s, the last one confirms; `precision`
    a share; `start` None: the rate that the warm-up of the first run gives. `keep` False writes
    nothing into user.conf.
    """

    model: str
    conf: str
    sources: Sources
    words: tuple[str, ...]
    durations: tuple[float, ...]
    precision: float
    start: float | None
    loadgen: bool
    user_conf: Path
    keep: bool
    results: Path

    @property
    def home(self) -> Path:
        """Where runs and the result stand."""
        return self.results / "find-qps" / models.label(self.model).lower()


def find_qps(options: QpsOptions) -> ExitCode:
    """Search, say and write; exit code 3 where no rate is VALID."""
    terminal = Terminal()
    if options.user_conf.exists():
        try:
            parse_user_conf(options.user_conf, models=(options.conf,))
        except UserConfError as error:
            raise InputError(str(error)) from None
    if options.keep:
        cure = "choose another with --user-conf, or --dry-run"
        try_file(options.user_conf.resolve(), "user.conf", cure, makes_folders=False)
        try_setting(options.user_conf, _key(options))
    try_file(options.home / RESULT, RESULTS, "choose another with --results")
    options.home.mkdir(parents=True, exist_ok=True)
    if options.user_conf.exists():
        terminal.line(f"user.conf: {options.user_conf} (without its target_qps)")
    with Signals() as signals:
        finder = _Finder(options, terminal, signals)
        return finder.loadgen() if options.loadgen else finder.search()


def _key(options: QpsOptions) -> str:
    return f"{options.conf}.Server.target_qps"


def _other_limit(options: QpsOptions) -> str:
    """How to raise the limit; "another limit" where the official one held."""
    given = _limit_words(options)
    if given:
        return f"or raise {given[0].replace('=', ' ')}"
    return "--max-latency sets another limit"


def _limit_words(options: QpsOptions) -> list[str]:
    """The word of the latency limit, where the user gave one."""
    flag = RunOptions.flag("max_latency_ms")
    return [word for word in options.words if word.startswith(f"{flag}=")]


class _Finder:
    def __init__(self, options: QpsOptions, terminal: Terminal, signals: Signals) -> None:
        self._options = options
        self._terminal = terminal
        self._signals = signals
        self._interrupted: InterruptedRunError | None = None
        self._known: dict[float, bool] = {}
        self._conf = without_targets(options.user_conf, options.conf, SERVER.name, options.home)

    def search(self) -> ExitCode:
        """Bracketing, bisection, confirmations."""
        options = self._options
        start = options.start or self._first()
        peak = search_peak(
            self._holds,
            start,
            durations=options.durations,
            precision=options.precision,
            growth=GROWTH,
            least=HOPELESS * start,
        )
        self._record(peak)
        if self._interrupted is not None:
            raise self._interrupted
        if peak.qps is None:
            self._terminal.line(
                f"no rate is VALID: even {peak.attempts[-1].qps:.4g} queries/s is too much; fewer"
                " instances with more cores each answer sooner (loadrun tune finds them),"
                f" {_other_limit(options)}"
            )
            return ExitCode.INVALID
        bound = f"; {peak.bound:.4g} is too much" if peak.bound else ""
        self._terminal.line(
            f"highest VALID rate: {peak.qps:.4g} queries/s, held for"
            f" {options.durations[-1]:g} s{bound} ({len(peak.attempts)} tests)"
        )
        self._keep(peak.qps, f"held for {options.durations[-1]:g} s")
        return ExitCode.OK

    def loadgen(self) -> ExitCode:
        """LoadGen's own search, FindPeakPerformance: one run."""
        options = self._options
        record = self._run(options.durations[0], options.start, FIND_PEAK_PERFORMANCE)
        metric = record.result.metric if record.result else None
        if metric is None or not metric.value:
            raise RunError("LoadGen's FindPeakPerformance found no rate")
        qps = metric.value
        self._terminal.line(f"LoadGen's FindPeakPerformance: {qps:.4g} queries/s")
        peak = search_peak(
            self._holds,
            qps,
            durations=(options.durations[-1],),
            precision=options.precision,
            growth=1 + options.precision,
            least=HOPELESS * qps,
        )
        self._record(peak)
        if self._interrupted is not None:
            raise self._interrupted
        if peak.qps is None:
            self._terminal.line("no rate near it is VALID")
            return ExitCode.INVALID
        self._terminal.line(f"confirmed for {options.durations[-1]:g} s: {peak.qps:.4g} queries/s")
        self._keep(peak.qps, f"held for {options.durations[-1]:g} s")
        return ExitCode.OK

    def _first(self) -> float:
        """The rate that a run sets by itself; its verdict counts."""
        seconds = self._options.durations[0]
        record = self._run(seconds)
        qps = record.measured.target(SERVER)
        self._known[qps] = self._judge(record, qps, seconds)
        return qps

    def _holds(self, qps: float, seconds: float) -> bool:
        if self._known.get(qps) is not None and seconds == self._options.durations[0]:
            return self._known[qps]
        try:
            record = self._run(seconds, float(f"{qps:.6g}"))
        except InterruptedRunError as error:
            self._interrupted = error
            raise Stopped from None
        return self._judge(record, qps, seconds)

    def _judge(self, record: Record, qps: float, seconds: float) -> bool:
        """Whether the rate held: VALID at the last duration, else the percentile that counts.

        Few queries make LoadGen's early stopping say INVALID whatever their latencies.
        """
        result = record.result
        valid = result is not None and result.valid is True
        within = result is not None and result.within_limit
        held = valid if seconds == self._options.durations[-1] else within
        p99 = (result.latencies_ns.get("p99", 0) if result else 0) / 1e6
        word = "VALID" if valid else "within the limit" if held else "INVALID"
        self._terminal.line(f"  {qps:8.4g} queries/s, {seconds:4g} s: p99 {p99:.4g} ms  {word}")
        return held

    def _run(
        self, seconds: float, qps: float | None = None, mode: Mode = PERFORMANCE_ONLY
    ) -> Record:
        options = self._options
        asked = RunOptions.asking(
            sources=options.sources, fast=True, time_s=seconds, qps=qps, user_conf=self._conf
        )
        words = [*options.words, *asked]
        directory = options.home / "run"
        return run_once(options.model, SERVER.name, words, directory, self._signals, mode.name)

    def _record(self, peak: Peak) -> None:
        options = self._options
        values = {
            "model": options.model,
            "qps": peak.qps,
            "bound": peak.bound,
            "complete": peak.complete,
            "durations_s": list(options.durations),
            "precision": options.precision,
            "attempts": [asdict(attempt) for attempt in peak.attempts],
        }
        write_json(options.home / RESULT, values)

    def _keep(self, qps: float, how: str) -> None:
        options = self._options
        if not options.keep:
            return
        key = _key(options)
        # Rounded down: the written rate is not more than the one that held.
        digits = 10 ** max(0, 3 - len(str(int(qps))))
        value = f"{int(qps * digits) / digits:g}"
        when = datetime.now(UTC).strftime("%Y-%m-%d")
        comment = " ".join([f"{when}, {how}", *_limit_words(options)])
        lines = write_setting(options.user_conf, key, value, comment)
        self._terminal.line(f"{options.user_conf}: {key} = {value}")
        for number in lines:
            self._terminal.line(
                f"  note: line {number} sets {key} too; the tuned section comes later and wins"
            )
