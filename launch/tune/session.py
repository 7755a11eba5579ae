"""One tuning session: search, confirm, judge, write what was found."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.util import find_spec

import models
from base.errors import ExitCode, InputError, InterruptedRunError
from base.files import locked, write_text
from launch.build.engine import check_engine
from launch.machine.plan import make_plan
from launch.machine.topology import Topology, read_topology
from launch.options import IN_FLIGHT
from launch.options.run import default_batch_size
from launch.outcome.results import RESULTS, write_json
from launch.outcome.writable import try_file
from launch.screen.terminal import Terminal
from launch.supervise.signals import Signals
from launch.tune.evaluate import RunEvaluator
from launch.tune.evidence import LEAST_REPEATS, Conclusion, Summary, judge
from launch.tune.options import TuneOptions
from launch.tune.picture import FILES, write_all
from launch.tune.search import Search, Trial, open_study
from launch.tune.space import Choice, Layout, Space, make_space
from launch.tune.table import finalists_table, trials_csv, trials_table
from launch.tune.tuned import Tuned, machine_key, tuned_path, write_tuned
from loadrun.durations import duration
from loadrun.scenarios import SCENARIOS
from models.packages import installing_extra

SEARCH_SHARE = 0.6
"""Of the budget; the rest is for the finalists' repeats."""
BUSY = 0.5
"""Load average per processor, before a session, above which figures are not to be trusted much."""


def tune(options: TuneOptions) -> ExitCode:
    """Search and say what was found; raises LoadrunError."""
    if find_spec("optuna") is None:
        raise InputError(f"loadrun tune needs Optuna: {installing_extra('tune')}")
    check_engine(options.engine)
    terminal = Terminal()
    topology = read_topology()
    default = default_choice(options.model, options.scenario, topology)
    space = make_space(topology, options.scenario, default)
    _try_writing(options)
    options.home.mkdir(parents=True, exist_ok=True)
    storage = options.home / "study.db"

    def waiting() -> None:
        terminal.line(f"another tuning session holds {storage}: waiting for it")

    with locked(storage, waiting), Signals() as signals:
        session = _Session(options, topology, space, default, terminal, signals)
        return session.run(f"sqlite:///{storage}")


def _try_writing(options: TuneOptions) -> None:
    """InputError unless everything that a session writes at its end can be written."""
    for name in ("trials.csv", "tune.json", *FILES):
        try_file(options.home / name, RESULTS, "choose another with --results")
    tuned = tuned_path(options.model, options.scenario, options.engine, options.precision)
    try_file(tuned, "tuned configuration", "choose another cache with LOADRUN_CACHE")


def default_choice(model: str, name: str, topology: Topology) -> Choice:
    """What `loadrun run` does with a model in the scenario `name`, without any option."""
    scenario = SCENARIOS[name]
    if scenario.one_sample:
        from launch.run import single_stream_cores

        layout = Layout(1, single_stream_cores(topology))
    else:
        plan = make_plan(topology)
        layout = Layout(len(plan.instances), plan.cores_per_instance)
    size = default_batch_size(models.get(model), name)
    return Choice(layout, size, scenario.policy, IN_FLIGHT)


def study_name(options: TuneOptions, topology: Topology, space: Space) -> str:
    """Names a study: what makes figures comparable, and the space."""
    limit = options.max_latency_ms
    parts = [options.model, options.scenario, options.engine, options.precision]
    parts += [machine_key(topology), space.key]
    parts.append("official" if limit is None else f"{limit:g}ms")
    return ".".join(parts)


class _Session:
    def __init__(
        self,
        options: TuneOptions,
        topology: Topology,
        space: Space,
        default: Choice,
        terminal: Terminal,
        signals: Signals,
    ) -> None:
        self._options = options
        self._topology = topology
        self._space = space
        self._default = default
        self._terminal = terminal
        self._signals = signals
        self._scenario = SCENARIOS[options.scenario]
        self._unit = self._scenario.rate
        self._started = time.monotonic()
        self._best = 0.0

    def run(self, storage: str) -> ExitCode:
        options, terminal = self._options, self._terminal
        evaluator = RunEvaluator(options, options.home, self._signals)
        study = open_study(study_name(options, self._topology, self._space), storage)
        search = Search(
            self._space, self._default, evaluator, study, time.monotonic, self._trial_ended
        )
        before = search.trials
        self._best = max((t.value or 0.0 for t in before), default=0.0)
        terminal.line(
            f"{options.model} {options.scenario}: {self._space.size} choices,"
            f" {duration(options.budget_s)}; default: {self._default}"
        )
        if options.user_conf is not None:
            terminal.line(f"user.conf: {options.user_conf} (without the rates that it expects)")
        busy = os.getloadavg()[0] / len(self._topology.allowed)
        if busy > BUSY:
            terminal.line(
                f"note: other processes keep this machine busy (load {busy:.1f} per processor):"
                " figures will spread, and a winner may not be told from the default"
            )
        if before:
            terminal.line(f"going on after {len(before)} trials of earlier sessions")
        else:
            terminal.line("preparing what the default needs (outside of the budget)")
            evaluator.prepare(self._default)
            self._started = time.monotonic()
        try:
            why = search.run(lambda: self._searches(len(search.trials) - len(before)))
            terminal.line(
                f"search ended ({why}) after {duration(self._spent())}; now the finalists"
            )
            finalists = search.finalists()
            if len(finalists) > 1:
                search.confirm(finalists, options.rounds, self._goes_on)
        except InterruptedRunError:
            if search.trials:
                self._write(search, None, evaluator.runs)
            terminal.line(f"{len(search.trials)} trials are kept; run again to go on")
            raise
        confirmed = search.confirmed(finalists)
        conclusion = judge(confirmed, str(self._default)) if confirmed else None
        self._write(search, conclusion, evaluator.runs)
        terminal.table(trials_table(search.trials, self._unit))
        if all(trial.figure == 0 for trial in search.trials):
            terminal.line(
                "no choice served within the latency limit at any rate that was tried: the machine"
                f" is too slow or too busy for it ({self._other_limit()})"
            )
        elif conclusion is None:
            terminal.line(
                "no choice beside the default, or no whole round of finalists, fitted the budget:"
                " run again to go on"
            )
        if conclusion is None:
            return ExitCode.OK
        terminal.table(finalists_table(confirmed, str(self._default), self._unit))
        self._conclude(conclusion, confirmed, finalists)
        return ExitCode.OK

    def _other_limit(self) -> str:
        limit_ms = self._options.max_latency_ms
        return (
            "--max-latency sets another"
            if limit_ms is None
            else f"raise --max-latency {limit_ms:g}"
        )

    def _spent(self) -> float:
        return time.monotonic() - self._started

    def _goes_on(self) -> bool:
        return self._spent() < self._options.budget_s

    def _searches(self, done: int) -> bool:
        most = self._options.trials
        within = self._spent() < SEARCH_SHARE * self._options.budget_s
        return within and (most is None or done < most)

    def _trial_ended(self, trial: Trial) -> None:
        if trial.value is None:
            word = "pruned"
        elif trial.value > self._best:
            word, self._best = "best so far", trial.value
        else:
            word = ""
        line = f"{duration(self._spent()):>12}  trial {trial.number:3}  {trial.figure:9.4g}"
        self._terminal.line(f"{line}  {trial.choice}  {word}".rstrip())

    def _conclude(
        self, conclusion: Conclusion, confirmed: dict[str, Summary], finalists: list[Choice]
    ) -> None:
        options, terminal = self._options, self._terminal
        path = tuned_path(options.model, options.scenario, options.engine, options.precision)
        if conclusion.winner is None:
            terminal.line(conclusion.text)
            kept = f"; {path} of an earlier session stays" if path.exists() else ""
            terminal.line(f"nothing is written: the default stands{kept}")
            return
        terminal.line(f"winner: {conclusion.text}")
        terminal.lines(f"  not told apart from it: {name}" for name in conclusion.ties)
        choice = next(c for c in finalists if str(c) == conclusion.winner)
        found = confirmed[conclusion.winner]
        tuned = Tuned(
            model=options.model,
            scenario=options.scenario,
            engine=options.engine,
            precision=options.precision,
            machine=machine_key(self._topology),
            max_latency_ms=options.max_latency_ms if self._scenario.limit is not None else None,
            **choice.options(),
            figure=found.median,
            unit=self._unit,
            spread=found.spread,
            repeats=len(found.values),
            gain=conclusion.gain,
            chance=conclusion.chance,
            made=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        terminal.line(f"tuned configuration: {write_tuned(tuned)} (loadrun run uses it)")

    def _write(self, search: Search, conclusion: Conclusion | None, runs: int) -> None:
        home, trials = self._options.home, search.trials
        confirmed = search.confirmed(search.finalists())
        write_text(home / "trials.csv", trials_csv(trials))
        values = {
            "model": self._options.model,
            "scenario": self._options.scenario,
            "unit": self._unit,
            "choices": self._space.size,
            "trials": len(trials),
            "tests_this_session": runs,
            "seconds_this_session": round(self._spent(), 1),
            "default": str(self._default),
            "finalists": {name: list(found.values) for name, found in confirmed.items()},
            "least_repeats": LEAST_REPEATS,
            "verdict": asdict(conclusion) if conclusion else None,
        }
        write_json(home / "tune.json", values)
        title, machine = f"{self._options.model} {self._options.scenario}", self._topology.name
        for path in write_all(trials, self._space, title, machine, self._unit, home):
            self._terminal.line(f"picture: {path}")
