"""The supervisor over real loadrun and netrun processes: every end is an orderly one."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from base.errors import InputError, InterruptedRunError, RunError
from launch.machine.pinning import find_pinning
from launch.machine.topology import read_topology
from launch.supervise.deaths import Cause
from launch.supervise.environment import base_environment, instance_environment
from launch.supervise.signals import Signals
from launch.supervise.supervisor import Command, Supervisor
from loadrun.config import LoadrunConfig, Overrides
from models.samples import save
from models.task import Field
from netrun.config import NetrunConfig, SimulatedService
from shm.control import ControlBlock, RunState
from shm.reclaim import find_runs

INSTANCES = 2
PROCESSORS = [p.id for p in read_topology().allowed]


class Script:
    """A supervisor.Listener that notes what it hears and acts once the test runs."""

    def __init__(self) -> None:
        self.phases: list[RunState] = []
        self.notices: list[str] = []
        self.printed: list[str] = []
        self.act: Callable[[int], None] = lambda samples: None
        self.control: ControlBlock | None = None

    def attached(self, control: ControlBlock) -> None:
        self.control = control

    def phase(self, state: RunState) -> None:
        self.phases.append(state)

    def progress(self) -> None:
        if self.control is None or self.control.run_state is not RunState.RUNNING:
            return
        samples = sum(self.control.instance(i).samples for i in range(INSTANCES))
        if samples > 0:
            self.act(samples)

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def loadrun_printed(self, line: str) -> None:
        self.printed.append(line)


class Bench:
    """Makes supervisors of a short Offline run with the `sim` engine."""

    def __init__(self, directory: Path, signals: Signals) -> None:
        self.directory = directory
        self.run_id = f"t{secrets.token_hex(6)}"
        self.script = Script()
        self.signals = signals
        self.seconds = 1.0
        self.policy = "pull"
        self.engine = "sim"
        self.max_restarts = 3
        self.stall_limit_s = 5.0
        self.sample_ms = 1.0
        self.mode = "PerformanceOnly"
        self.batch_size = 4
        self.batch_cost: float | None = None
        self.longest_cost = 1.0
        self.samples = directory / "samples"
        self.costs: list[float] | None = None

    def supervisor(self) -> Supervisor:
        numbers = [{"number": np.array(i)} for i in range(64)]
        save(self.samples, [Field("number", "<i4", ())], numbers, self.costs)
        loadrun = LoadrunConfig(
            run_id=self.run_id,
            model="resnet50",
            scenario="Offline",
            mode=self.mode,
            log_dir=str(self.directory),
            samples=str(self.samples),
            sample_count=64,
            report=str(self.directory / "loadrun.json"),
            instances=INSTANCES,
            batch_size=self.batch_size,
            batch_cost=self.batch_cost,
            policy=self.policy,
            overrides=Overrides(min_duration_s=self.seconds, min_query_count=1),
            start_timeout_s=30.0,
        )
        config = self.directory / "loadrun.config.json"
        config.write_text(loadrun.to_json())
        words = [sys.executable, "-m", "loadrun", str(config)]
        return Supervisor(
            self.run_id,
            Command("loadrun", words, base_environment(), tuple(PROCESSORS)),
            [self.instance(i) for i in range(INSTANCES)],
            directory=self.directory,
            pinning=find_pinning(read_topology()),
            max_restarts=self.max_restarts,
            stall_limit_s=self.stall_limit_s,
            batch_cost=self.batch_cost or self.batch_size,
            longest_cost=self.longest_cost,
            start_timeout_s=30.0,
            listener=self.script,
            signals=self.signals,
            report=self.directory / "loadrun.json",
            names_of=lambda samples: [None] * len(samples),
        )

    def instance(self, index: int) -> Command:
        processor = PROCESSORS[index % len(PROCESSORS)]
        config = NetrunConfig(
            run_id=self.run_id,
            instance=index,
            model="resnet50",
            engine=self.engine,
            precision="int8",
            artifact=str(self.directory / "artifact"),
            batch_size=self.batch_size,
            batch_cost=self.batch_cost,
            threads=1,
            report=str(self.directory / f"netrun_{index}.json"),
            processors=[processor],
            warmup_s=0.1,
            sim=SimulatedService(base_ms=1.0, sample_ms=self.sample_ms, jitter=0.0),
        )
        path = self.directory / f"netrun_{index}.config.json"
        path.write_text(config.to_json())
        words = [sys.executable, "-m", "netrun", str(path)]
        return Command(f"netrun_{index}", words, instance_environment([processor]), (processor,))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    # Other tests' pools leave Python's tracker of semaphores running.
    before = psutil.Process().children(recursive=True)
    with Signals() as signals:
        started = Bench(tmp_path, signals)
        yield started
    # Whatever happened: no process and no segment is left.
    assert psutil.Process().children(recursive=True) == before
    assert started.run_id not in [run.run_id for run in find_runs()]


def processes(bench: Bench, module: str) -> list[psutil.Process]:
    """The bench's living processes of a module."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if f"-m {module} " in " ".join(child.cmdline()):
                found.append(child)
    return found


def test_a_run_ends_by_itself(bench: Bench) -> None:
    outcome = bench.supervisor().run()
    assert outcome.deaths == []
    assert outcome.removed_segments == []
    assert bench.script.phases[-1] in (RunState.RUNNING, RunState.STOPPING)
    assert any("expected duration" in line for line in bench.script.printed)
    assert set(outcome.bindings) == set(range(INSTANCES))
    for index, binding in outcome.bindings.items():
        assert binding.processors == (PROCESSORS[index % len(PROCESSORS)],)
    assert bench.script.notices == []
    assert (bench.directory / "mlperf_log_summary.txt").stat().st_size > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_in_order(bench: Bench, number: signal.Signals) -> None:
    bench.seconds = 60.0
    bench.script.act = lambda _: os.kill(os.getpid(), number)
    with pytest.raises(InterruptedRunError, match=number.name):
        bench.supervisor().run()


def test_a_second_signal_ends_it_without_patience(bench: Bench) -> None:
    bench.seconds = 60.0
    stopped: list[psutil.Process] = []

    def act(_: int) -> None:
        # A stopped process cannot heed SIGTERM: only SIGKILL ends it.
        for process in processes(bench, "netrun"):
            process.suspend()
            stopped.append(process)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    bench.script.act = act
    with pytest.raises(InterruptedRunError):
        bench.supervisor().run()
    assert stopped


def test_a_killed_instance_is_restarted_and_the_run_completes(bench: Bench) -> None:
    bench.seconds = 1.5
    killed: list[int] = []

    def act(_: int) -> None:
        if not killed:
            victim = processes(bench, "netrun")[0]
            killed.append(victim.pid)
            victim.kill()

    bench.script.act = act
    outcome = bench.supervisor().run()
    (death,) = outcome.deaths
    assert death.end == "was killed by SIGKILL"
    assert death.cause is Cause.KILLED
    assert death.restarted
    assert "restarting it" in bench.script.notices[0]
    summary = (bench.directory / "mlperf_log_summary.txt").read_text()
    assert "SUT name" in summary


BREAKS = """
import sys
from netrun import worker
from netrun.engines import sim

class Breaks(sim.SimulatedEngine):
    served = 0

    def answer(self, batch):
        # Some batches after the warm-up, 0.1 s of batches that take 5 ms each.
        self.served += 1
        if self.served > 50:
            raise RuntimeError("the engine broke")
        return super().answer(batch)

sim.SimulatedEngine = Breaks
sys.exit(worker.main(sys.argv[1:]))
"""


def test_an_engine_that_breaks_is_a_death_of_its_instance(bench: Bench) -> None:
    bench.max_restarts = 0
    supervisor = bench.supervisor()
    healthy, broken = supervisor._instance_commands
    words = [sys.executable, "-c", BREAKS, broken.words[-1]]
    supervisor._instance_commands = [healthy, replace(broken, words=words)]
    (death,) = supervisor.run().deaths
    assert (death.instance, death.end) == (1, "ended with exit code 4")
    assert death.cause is Cause.ENDED
    assert death.last_words == "netrun 1: error: RuntimeError: the engine broke"


POISON = 37
POISONED = """
import os, signal, sys, time
from netrun import worker
from netrun.engines import sim

measure_rate, warming_up = worker.measure_rate, []

def unharmed(*arguments):
    # The warm-up finds the sample, too.
    warming_up.append(True)
    rate = measure_rate(*arguments)
    warming_up.clear()
    return rate

class Poisoned(sim.SimulatedEngine):
    def answer(self, batch):
        if not warming_up and POISON in batch.views("number"):
            print("this one", len(batch), file=sys.stderr)
            if "HOW" == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(600)
        return super().answer(batch)

worker.measure_rate, sim.SimulatedEngine = unharmed, Poisoned
sys.exit(worker.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("how", ["crash", "silence"])
def test_a_sample_that_instances_die_of_ends_the_run(
    bench: Bench, how: str, batch_size: int
) -> None:
    bench.mode, bench.batch_size, bench.stall_limit_s = "AccuracyOnly", batch_size, 1.0
    supervisor = bench.supervisor()
    program = POISONED.replace("POISON", str(POISON)).replace("HOW", how)
    supervisor._instance_commands = [
        replace(command, words=[sys.executable, "-c", program, command.words[-1]])
        for command in supervisor._instance_commands
    ]
    with pytest.raises(RunError) as failure:
        supervisor.run()
    assert failure.value.code == 4
    outcome, text = supervisor.outcome, str(failure.value)
    assert outcome.poison is not None
    assert POISON in outcome.poison.samples
    assert len(outcome.poison.samples) == max(1, batch_size // 2)
    which = "sample 37 " if batch_size == 1 else "one of samples "
    assert text.startswith(which)
    causes = [death.cause for death in outcome.deaths]
    assert causes == [Cause.CRASHED if how == "crash" else Cause.SILENT] * 2
    assert outcome.poison.deaths == outcome.deaths
    for death, size in zip(outcome.deaths, (batch_size, max(1, batch_size // 2)), strict=True):
        assert f"instance {death.instance} {death.end}" in text
        assert f"last lines of instance {death.instance}:\nthis one {size}" in text
    assert outcome.removed_segments == []


def test_a_stopped_instance_is_killed_and_its_batches_go_to_others(bench: Bench) -> None:
    bench.seconds, bench.stall_limit_s = 1.5, 0.5
    stopped: list[int] = []

    def act(_: int) -> None:
        if not stopped:
            victim = processes(bench, "netrun")[0]
            stopped.append(victim.pid)
            victim.suspend()

    bench.script.act = act
    (death,) = bench.supervisor().run().deaths
    assert death.end.startswith("was stopped for 0.")
    assert death.cause is Cause.STOPPED
    assert death.restarted
    report = json.loads((bench.directory / "loadrun.json").read_text())
    assert report["redispatched"] > 0


def test_a_long_batch_is_no_stall(bench: Bench) -> None:
    # A batch takes 0.4 s, four times the stall limit.
    bench.seconds, bench.stall_limit_s, bench.sample_ms = 1.0, 0.1, 100.0
    assert bench.supervisor().run().deaths == []


def test_a_long_sample_is_no_stall(bench: Bench) -> None:
    """It takes 60 times as long as a full batch: three times what that alone would be granted."""
    bench.mode, bench.stall_limit_s = "AccuracyOnly", 0.1
    bench.sample_ms, bench.batch_cost = 25.0, 1.0
    bench.costs = [6000.0, *[1.0] * 63]
    bench.longest_cost = 6000 * 64 / sum(bench.costs)
    assert bench.supervisor().run().deaths == []


def test_an_instance_stopped_before_it_is_ready_fails_the_run(bench: Bench) -> None:
    bench.stall_limit_s = 0.5

    def phase(state: RunState) -> None:
        if state is RunState.WARMUP:
            processes(bench, "netrun")[0].suspend()

    bench.script.phase = phase  # type: ignore[method-assign]
    with pytest.raises(RunError, match=r"was stopped for .* s and was killed before it was ready"):
        bench.supervisor().run()


def test_a_stopped_loadrun_fails_the_run(bench: Bench) -> None:
    bench.seconds, bench.stall_limit_s = 60.0, 0.5
    bench.script.act = lambda _: processes(bench, "loadrun")[0].suspend()
    with pytest.raises(RunError, match=r"loadrun was stopped for .* s"):
        bench.supervisor().run()


def test_restarts_are_bounded(bench: Bench) -> None:
    bench.max_restarts = 0
    killed: list[int] = []

    def act(_: int) -> None:
        if not killed:
            victim = processes(bench, "netrun")[0]
            killed.append(victim.pid)
            victim.kill()

    bench.script.act = act
    outcome = bench.supervisor().run()
    (death,) = outcome.deaths
    assert not death.restarted
    assert "not restarted any more" in bench.script.notices[0]


def test_without_any_instance_the_run_fails(bench: Bench) -> None:
    bench.seconds = 60.0
    bench.max_restarts = 1

    def act(_: int) -> None:
        for process in processes(bench, "netrun"):
            process.kill()

    bench.script.act = act
    supervisor = bench.supervisor()
    with pytest.raises(RunError, match="no instance is left"):
        supervisor.run()
    assert len(supervisor.outcome.deaths) == 2 * INSTANCES


@pytest.mark.alone
def test_a_killed_loadrun_fails_the_run_and_its_segments_go(bench: Bench) -> None:
    bench.seconds = 60.0
    bench.script.act = lambda _: processes(bench, "loadrun")[0].kill()
    supervisor = bench.supervisor()
    with pytest.raises(RunError, match="loadrun was killed by SIGKILL"):
        supervisor.run()
    assert any("arena" in name for name in supervisor.outcome.removed_segments)


def test_an_instance_that_cannot_load_is_quoted(bench: Bench) -> None:
    bench.engine = "onednn"
    (bench.directory / "artifact").write_bytes(b"nothing of the kind")
    with pytest.raises(RunError, match="before it was ready") as failure:
        bench.supervisor().run()
    assert str(bench.directory / "artifact") in str(failure.value)


def test_what_loadrun_refuses_is_the_users_to_mend(bench: Bench) -> None:
    bench.policy = "puul"
    with pytest.raises(InputError, match="nearest: pull"):
        bench.supervisor().run()


def test_a_command_that_cannot_start(bench: Bench) -> None:
    supervisor = bench.supervisor()
    ghost = Command("netrun_1", ["/nonexistent"], base_environment(), ())
    supervisor._instance_commands = [supervisor._instance_commands[0], ghost]
    with pytest.raises(RunError, match="cannot start netrun_1"):
        supervisor.run()
