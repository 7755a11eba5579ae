"""One run from checked options to results."""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import models
from base.checked import read
from base.errors import ExitCode, InputError, InterruptedRunError, RunError, TooLongError
from launch.build.assets import WITHOUT_ARTIFACT, Assets
from launch.build.engine import check_engine
from launch.build.prepare import prepare, task_sources
from launch.compliance.references import reference_ids
from launch.compliance.settings import audit_config
from launch.configs import LOADRUN_REPORT, START_TIMEOUT_S, loadrun_config, netrun_config
from launch.machine.doctor.finding import Finding, Level
from launch.machine.doctor.machine import check_machine
from launch.machine.doctor.system import check_system
from launch.machine.limits import (
    LEAST_FILE,
    check,
    kills_for_memory,
    need_for_run,
    with_memory_named,
)
from launch.machine.pinning import Pinning, find_pinning
from launch.machine.plan import Plan, make_plan
from launch.machine.quiet import Watch
from launch.machine.topology import Topology, read_topology
from launch.options import RunOptions
from launch.outcome.record.processes import EngineRecord
from launch.outcome.record.run import Record, load
from launch.outcome.recorder import Recorder
from launch.outcome.reports import engine_report, loadrun_report
from launch.outcome.results import (
    ACCURACY_LOG,
    COMPLETE,
    FAILED,
    INTERRUPTED,
    RESULTS,
    RUN_JSON,
    Staging,
    file_abandoned,
    places,
)
from launch.outcome.room import describe_error, need_space, results_bytes
from launch.outcome.summary import summary
from launch.outcome.timekeeping import judge
from launch.outcome.track import Tracker, parse_track, track
from launch.report.sources import write_report
from launch.screen.announcement import announce, unofficial_reasons
from launch.screen.live.progress import Steps
from launch.screen.terminal import Terminal
from launch.screen.watch import RunWatcher, Watched
from launch.supervise.aside import aside_of
from launch.supervise.environment import base_environment, instance_environment
from launch.supervise.signals import Signals
from launch.supervise.standstill import Span
from launch.supervise.supervisor import Command, Supervisor
from loadrun.capacity import EQUAL
from loadrun.clock import Phase
from loadrun.library import arena_layout
from loadrun.logs import LogError, parse_result
from loadrun.scenarios import MODES, SCENARIOS
from loadrun.user_conf import UserConfError, parse_user_conf
from loadrun.verdict import Asked, Served, explain
from models.accuracy_log import LoggedAnswers
from models.samples import Itemised, Prepared
from models.task import DataSet, Task
from shm.reclaim import reclaim

CHOOSE = "choose another with --results"
ANNOUNCED = "instructions"
"""A check whose finding stands in the announcement already."""


def run(options: RunOptions, outlet: Terminal | None = None) -> ExitCode:
    """Run one test and say how it went; raises LoadrunError where it did not complete.

    `outlet` is where the result goes; standard output, or standard error beside --json, by default.
    """
    outlet = outlet or Terminal(sys.stderr if options.json else sys.stdout)
    try:
        return _run(options, outlet)
    except TooLongError as error:
        if not outlet.answers:
            raise
        outlet.line(str(error))
        if not outlet.agrees("run it all the same?"):
            raise InterruptedRunError("not started") from None
        # All that was built is there, and the warm-up is short beside such a test.
        return _run(replace(options, any_length=True), outlet)


def _run(options: RunOptions, outlet: Terminal) -> ExitCode:
    terminal = Terminal.silent() if options.quiet else outlet
    task = models.get(options.model)
    if options.user_conf is not None:
        try:
            parse_user_conf(options.user_conf, models=(task.benchmark(options.model).conf,))
        except UserConfError as error:
            raise InputError(str(error)) from None
    check_engine(options.engine)
    tracker = parse_track(options.track) if options.track else None
    topology = read_topology()
    plan = plan_for(options, topology)
    pinning = find_pinning(topology)
    _need_room(options, plan)
    _tidy_up(options.results, terminal)
    announce(options, task, plan, pinning, terminal)
    need_space(options.results, results_bytes(0, 0), RESULTS, CHOOSE)
    kills = kills_for_memory()
    run_id = new_run_id()
    recorder = Recorder(options, plan, pinning, topology, run_id)
    record = recorder.record
    if options.audit:
        recorder.compared_with(reference_ids(options))
    recorder.checks(_check(topology, pinning, terminal))
    staging = Staging(options.results, run_id, options.scenario, options.model)
    with Signals() as signals, staging:
        test = _Test(
            options, topology, plan, pinning, run_id, recorder, staging.path, terminal, signals
        )
        staging.try_places(options.mode, options.audit)
        try:
            staging.write_record(record.as_json())
            test.execute()
            first, *_ = places(staging.home, options.mode, options.audit)
            recorder.history(_earlier(first / RUN_JSON))
            recorder.end(COMPLETE)
            staging.write_record(record.as_json())
            write_report(staging.path, record, terminal)
            published = staging.publish(options.mode, options.audit)
        except Exception as error:
            error = with_memory_named(error, kills)
            _keep(error, recorder, staging, outlet)
            if isinstance(error, OSError):
                raise RunError(describe_error(error)) from error
            raise error
    if tracker is not None:
        _track(tracker, record, published[0], terminal)
    if options.json:
        print((published[0] / RUN_JSON).read_text(encoding="utf-8"), end="")
    terminal.line()
    outlet.lines(summary(record, published))
    outlet.line("Completed")
    invalid = record.result is not None and record.result.valid is False
    return ExitCode.INVALID if invalid or record.doubtful else ExitCode.OK


def _track(tracker: Tracker, record: Record, place: Path, terminal: Terminal) -> None:
    """Send the result where the user wants it, too; that it cannot be sent costs no result."""
    try:
        terminal.line(f"tracked: {track(tracker, record, place)}")
    except Exception as error:  # whatever the tracker's package raises
        reason = (str(error) or repr(error)).splitlines()[0]
        terminal.line(f"note: --track {tracker.name}: not sent: {reason}")


def _earlier(path: Path) -> Record | None:
    """The record of the run whose place another takes; None where what stands there is none."""
    with contextlib.suppress(InputError):
        return load(path, "")
    return None


def new_run_id() -> str:
    """A name for the run: the time, for people, and enough chance to be the only one."""
    return datetime.now(UTC).strftime("%Y%m%dt%H%M%S") + secrets.token_hex(4)


def asked(options: RunOptions) -> Asked:
    """What the user gave that decides the length and the load of a test."""
    settings: dict[str, float] = {}
    if options.user_conf is not None:
        name = models.benchmark(options.model).conf
        conf = parse_user_conf(options.user_conf, models=(name,))
        found = conf.settings(name, options.scenario)
        settings = {key: entry.value for key, entry in found.items()}
    return Asked(
        count=options.count,
        time_s=options.time_s,
        qps=options.qps,
        max_latency_ms=options.max_latency_ms,
        user_conf=str(options.user_conf or "user.conf"),
        settings=settings,
    )


def planned_record(options: RunOptions) -> Record:
    """The record that a run with these options would have at its start."""
    topology = read_topology()
    plan, pinning = plan_for(options, topology), find_pinning(topology)
    return Recorder(options, plan, pinning, topology, new_run_id()).record


def plan_for(options: RunOptions, topology: Topology) -> Plan:
    """The plan of a run; SingleStream has one instance, by default as wide as a memory node."""
    instances, cores = options.instances, options.cores
    if SCENARIOS[options.scenario].one_sample:
        if instances is not None and instances > 1:
            raise InputError(
                f"--instances {instances}: SingleStream has one query at a time, so one instance"
            )
        instances = 1
        if cores is None:
            cores = single_stream_cores(topology)
    return make_plan(
        topology, instances, cores, strict=options.strict, oversubscribe=options.oversubscribe
    )


def single_stream_cores(topology: Topology) -> int:
    """As wide as a memory node, as far as efficiency cores and the quota allow."""
    nodes = [processor.node for processor in topology.performance_cores]
    cores = max(nodes.count(node) for node in set(nodes))
    return min(cores, max(int(topology.quota or cores), 1))


class _Test:
    """What happens between the announcement and the results."""

    def __init__(
        self,
        options: RunOptions,
        topology: Topology,
        plan: Plan,
        pinning: Pinning,
        run_id: str,
        recorder: Recorder,
        directory: Path,
        terminal: Terminal,
        signals: Signals,
    ) -> None:
        self._options = options
        self._topology = topology
        self._plan = plan
        self._pinning = pinning
        self._run_id = run_id
        self._recorder = recorder
        self._directory = directory
        self._terminal = terminal
        self._signals = signals
        self._late: list[Span] = []

    def execute(self) -> None:
        """Prepare, run, read the results into the record; raises LoadrunError."""
        options, recorder = self._options, self._recorder
        processors = self._plan.instances[0].processors
        assets = prepare(options, processors, self._directory, self._terminal, self._signals)
        recorder.prepared(assets)
        self._terminal.lines(assets.samples.in_words(options.batch_size))
        _need_room(options, self._plan, assets)
        measures_accuracy = MODES[options.mode].accuracy
        if measures_accuracy:
            largest = Prepared.open(Path(assets.samples.path)).largest()
            response_bytes = models.get(options.model).longest_answer(largest)
            needed = results_bytes(assets.samples.count, response_bytes)
            need_space(self._directory, needed, RESULTS, CHOOSE)
        self._supervise(assets)
        report = loadrun_report(self._directory / LOADRUN_REPORT)
        if report is None:
            raise RunError(f"loadrun left no report in {LOADRUN_REPORT}")
        recorder.report(report)
        try:
            result = parse_result(self._directory)
        except LogError as error:
            raise RunError(str(error)) from None
        served = Served(
            report.measured_rate or 0.0,
            len(self._plan.instances),
            self._plan.cores_per_instance,
            len(self._topology.allowed),
            assets.samples.costs.quantiles if assets.samples.costs else EQUAL,
        )
        phases = [read(Phase, phase) for phase in report.clock]
        kept = judge(phases, self._late, result.perf_constraints_met is False)
        recorder.timekeeping(kept, phases)
        recorder.result(result, explain(result, asked(options), served, kept.spoils), kept)
        if measures_accuracy:
            self._measure_accuracy(assets)
        record = recorder.record
        reasons = unofficial_reasons(
            options, assets.samples.count, bool(record.assets.synthetic), report.unofficial
        )
        recorder.unofficial(reasons + ["the accuracy means nothing"] * record.doubtful)

    def _supervise(self, assets: Assets) -> None:
        options, directory = self._options, self._directory
        if options.audit:
            text = audit_config(options.audit, models.benchmark(options.model), options.round)
            (directory / "audit.config").write_text(text, encoding="utf-8")
        loadrun = self._write(
            "loadrun.config.json",
            loadrun_config(options, self._plan, assets, self._run_id, directory).to_json(),
        )
        instances = []
        for planned in self._plan.instances:
            config = netrun_config(options, self._plan, planned, assets, self._run_id, directory)
            name = f"netrun_{planned.index}"
            path = self._write(f"{name}.config.json", config.to_json())
            words = [sys.executable, "-m", "netrun", path]
            environment = instance_environment(planned.processors)
            instances.append(
                Command(name, words, environment, planned.processors, planned.memory_node)
            )
        if options.in_process:
            (only,) = instances
            words = [sys.executable, "-m", "launch.single", loadrun, only.words[-1]]
            command = Command("loadrun", words, only.environment, only.processors, only.memory_node)
            instances = []
        else:
            words = [sys.executable, "-m", "loadrun", loadrun]
            command = Command("loadrun", words, base_environment(), self._plan.loadrun)
        steps = _steps(options, assets)
        watched = Watched(
            self._run_id,
            options.model,
            options.scenario,
            self._plan.instances,
            options.in_process,
            directory / LOADRUN_REPORT,
            assets.samples.costs is not None and SCENARIOS[options.scenario].at_once,
            steps,
        )
        longest = assets.samples.costs.longest if assets.samples.costs else 1.0
        with RunWatcher(self._terminal, watched) as listener:
            supervisor = Supervisor(
                self._run_id,
                command,
                instances,
                directory=directory,
                pinning=self._pinning,
                max_restarts=options.max_restarts,
                stall_limit_s=options.stall_limit_s,
                # Between two signs of life lies a batch, or a step of one.
                batch_cost=options.batch_size if steps is None else 1 / steps.each,
                longest_cost=longest if steps is None else 1 / steps.each,
                start_timeout_s=START_TIMEOUT_S,
                listener=listener,
                signals=self._signals,
                report=directory / LOADRUN_REPORT,
                names_of=self._files_of,
                processors=aside_of(self._topology, self._plan),
            )
            watch = Watch(self._topology)
            try:
                supervisor.run()
            except InputError as error:
                report = loadrun_report(directory / LOADRUN_REPORT)
                if report is not None and report.too_long:
                    raise TooLongError(str(error)) from None
                raise
            finally:
                self._recorder.disturbance(watch.disturbance())
                self._recorder.outcome(supervisor.outcome)
                self._late = supervisor.outcome.late
                self._recorder.engines(self._engine_reports())

    def _files_of(self, samples: Sequence[int]) -> list[str | None]:
        """Name the items of sample indices; None for synthetic ones, and where they are gone."""
        data: DataSet | None = None
        with contextlib.suppress(InputError, OSError):
            data = self._data()
        if not isinstance(data, Itemised) or data.synthetic:
            return [None] * len(samples)
        return [Path(data.item(n)).name if n < len(data) else None for n in samples]

    def _data(self, task: Task | None = None) -> DataSet:
        return (task or models.get(self._options.model)).data(task_sources(self._options.sources))

    def _engine_reports(self) -> dict[int, EngineRecord]:
        reports = {}
        for planned in self._plan.instances:
            report = engine_report(self._directory / f"netrun_{planned.index}.json")
            if report is not None:
                reports[planned.index] = report
        return reports

    def _measure_accuracy(self, assets: Assets) -> None:
        task = models.get(assets.model)
        data = self._data(task)
        if not data.scored:
            return
        score = task.score(LoggedAnswers(self._directory / ACCURACY_LOG), data)
        # The target is defined on the whole official set; a part of it reaches or misses nothing.
        benchmark = task.benchmark(self._options.model)
        whole = len(data) == benchmark.samples and not self._recorder.record.assets.synthetic
        target = benchmark.target if whole else None
        if not _judged(assets):
            score = replace(score, doubts=())
        self._recorder.accuracy(score, benchmark.metric, target)

    def _write(self, name: str, text: str) -> str:
        path = self._directory / name
        path.write_text(text, encoding="utf-8")
        return str(path)


def _need_room(options: RunOptions, plan: Plan, assets: Assets | None = None) -> None:
    """InputError where a limit of this process leaves less than the run needs."""
    need = need_for_run(
        options.engine, len(plan.instances), plan.cores_per_instance, _arena_bytes(options, assets)
    )
    if options.in_process:
        # No shared memory: its samples are in no file.
        need = replace(need, file=LEAST_FILE)
    check(
        need,
        f"a run of {len(plan.instances)} instance{'s' * (len(plan.instances) > 1)}",
        ", or fewer --instances" if len(plan.instances) > 1 else "",
    )


def _steps(options: RunOptions, assets: Assets) -> Steps | None:
    """What can be seen of samples while they are served; None where their ends have to do."""
    task = models.get(options.model)
    if not task.stepwise or options.engine in WITHOUT_ARTIFACT:
        return None
    costs = Prepared.open(Path(assets.samples.path)).costs
    served = costs[: options.count] if options.accuracy_only else costs
    return Steps(task.unit, float(served.mean()))


def _arena_bytes(options: RunOptions, assets: Assets | None) -> int:
    """Bytes of the samples that are in memory at once; 0 while they are not known."""
    if assets is None:
        return 0
    samples = Prepared.open(Path(assets.samples.path))
    benchmark = models.benchmark(options.model)
    return arena_layout(samples, benchmark.in_memory(len(samples))).size


def _judged(assets: Assets) -> bool:
    """Whether accuracy is to mean something: it is computed, of data that belong to the weights.

    Where it is not, that was announced.
    """
    return assets.weights is not None and assets.weights.synthetic == assets.samples.data.synthetic


def _check(topology: Topology, pinning: Pinning, terminal: Terminal) -> list[Finding]:
    """Check the machine; findings that matter are shown now, before the test."""
    findings = [*check_machine(topology), *check_system(topology, pinning)]
    for finding in findings:
        if finding.level is Level.MATTERS and finding.check != ANNOUNCED:
            terminal.line(f"  note: {finding.check}: {finding.found}: {finding.effect}")
            terminal.line(f"    cure: {finding.cure}")
    return findings


def _tidy_up(results: Path, terminal: Terminal) -> None:
    """Remove what runs that were killed left behind."""
    removed = reclaim()
    if removed:
        terminal.line(f"removed {len(removed)} shared-memory files of runs that died")
    for place in file_abandoned(results):
        terminal.line(f"an interrupted run's files are now in {place}")


def _keep(error: Exception, recorder: Recorder, staging: Staging, terminal: Terminal) -> None:
    """Keep the logs of a run that failed; refused input started no run."""
    if isinstance(error, InputError):
        return
    status = INTERRUPTED if isinstance(error, InterruptedRunError) else FAILED
    recorder.end(status, str(error) or type(error).__name__)
    try:
        staging.write_record(recorder.record.as_json())
        terminal.line(f"logs and run.json: {staging.keep_failed()}")
    except OSError as trouble:
        terminal.line(f"  note: logs and run.json could not be kept: {describe_error(trouble)}")
