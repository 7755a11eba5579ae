"""Runs the processes of one run to their end, whatever that is.

One loop acts: signal handlers only set flags, deaths are noticed by waiting for children, and
everything else is read from the control block. Life of an instance as seen from here::

    start -> (LOADED -> READY)  -> serving -> ended with the run
                 |                    |
          ends: the run fails     dies: state DEAD -> loadrun takes its batches back, resets its
                                  rings, generation + 1 -> started again, at most max_restarts
                                  times; when no instance is left, the run fails
                      loadrun ends the run where it finds that they die of a sample

A process that is stopped or gives no sign of life (launch.supervise.stalls) is killed, and dies
thereby. However the loop is left, no process and no segment stays behind.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from base.errors import InputError, InterruptedRunError, RunError
from launch.machine.oom import OomKills
from launch.machine.pinning import Binding, Pinning, read_binding
from launch.outcome.poison import NamesOf, Poison, read_poison
from launch.outcome.reports import loadrun_report
from launch.supervise.aside import Aside
from launch.supervise.deaths import Cause, Death, End, end_of
from launch.supervise.processes import (
    Child,
    describe_end,
    end_all,
    error_line,
    kill,
    start,
    wait_all,
)
from launch.supervise.signals import Signals
from launch.supervise.stalls import Silence
from launch.supervise.standstill import Span, Ticks
from launch.supervise.tail import Tail
from loadrun.capacity import longest_batch_s
from shm.control import ControlBlock, InstanceState, RunState
from shm.reclaim import reclaim
from shm.segment import SegmentMissing, ShmError

STARTING_POLL_S = 0.02
RUNNING_POLL_S = 0.5
"""Ends and signals wake the supervisor at once; the rest of what it looks at can wait."""
WATCH_S = 0.5
"""How often signs of life are looked at."""
NOTED_STOP_S = 1.0
"""Stops are seen when signs of life are looked at: a shorter one may have been a moment."""
LEAVE_S = 5.0
"""How long a process gets to leave by itself once the run is over."""
PATIENCE_S = 2.0
"""How long a process gets to leave when it is asked to: loadrun, then the instances."""


@dataclass(frozen=True)
class Command:
    """How to start one process and where it runs; `name` also names its log, ``<name>.log``."""

    name: str
    words: Sequence[str]
    environment: dict[str, str]
    processors: tuple[int, ...]
    memory_node: int | None = None


@dataclass
class Outcome:
    """What the supervisor saw, for run.json; filled as the run goes, also when it fails.

    `late` are the spans (CLOCK_MONOTONIC ns) in which launch itself came late or loadrun was seen
    stopped, `stops` the (instance, seconds) of instances that were stopped and went on.
    """

    bindings: dict[int, Binding] = field(default_factory=dict)
    loadrun_binding: Binding | None = None
    deaths: list[Death] = field(default_factory=list)
    poison: Poison | None = None
    phases_s: dict[str, float] = field(default_factory=dict)
    removed_segments: list[str] = field(default_factory=list)
    late: list[Span] = field(default_factory=list)
    stops: list[tuple[int, float]] = field(default_factory=list)


class Listener(Protocol):
    """Who follows how the run goes."""

    def attached(self, control: ControlBlock) -> None:
        """The run's control block is there; it is open as long as the supervisor runs."""

    def phase(self, state: RunState) -> None:
        """The run entered `state`."""

    def progress(self) -> None:
        """Called now and then, several times a second."""

    def notice(self, text: str) -> None:
        """Something happened that the user should know at once."""

    def loadrun_printed(self, line: str) -> None:
        """The loadrun process printed `line`."""


@dataclass
class _Instance:
    index: int
    command: Command
    child: Child
    silence: Silence
    verdict: End | None = None  # why it was killed by us
    started: float = 0.0
    restarts: int = 0
    lost_generation: int | None = None  # set while loadrun still has to reset its rings
    given_up: bool = False


class Supervisor:
    """Supervises one run of loadrun with its instances.

    `loadrun` is the process that creates the segments of `run_id`; `instances` the commands of
    the netrun processes, none for a scenario that runs in one process. Logs go to `directory`.
    `stall_limit_s` is how long a process may be stopped, `batch_cost` the most work of a batch and
    `longest_cost` that of a sample, both in mean samples, as far as they are answered without a
    sign of life, `start_timeout_s` how long an instance
    that is restarted may take to be ready. `report` is what loadrun writes, `names_of` names the
    files of samples. This process stays on `processors` meanwhile (none given: it may be anywhere).
    """

    def __init__(
        self,
        run_id: str,
        loadrun: Command,
        instances: Sequence[Command],
        *,
        directory: Path,
        pinning: Pinning,
        max_restarts: int,
        stall_limit_s: float,
        batch_cost: float,
        start_timeout_s: float,
        listener: Listener,
        signals: Signals,
        report: Path,
        names_of: NamesOf,
        longest_cost: float = 1.0,
        processors: Sequence[int] = (),
    ) -> None:
        self.outcome = Outcome()
        self._report = report
        self._names_of = names_of
        self._oom_kills = OomKills()
        self._aside = Aside(processors)
        self._run_id = run_id
        self._directory = directory
        self._pinning = pinning
        self._max_restarts = max_restarts
        self._stall_limit_s = stall_limit_s
        self._batch_cost = batch_cost
        self._longest_cost = longest_cost
        self._start_timeout_s = start_timeout_s
        self._listener = listener
        self._signals = signals
        self._loadrun_command = loadrun
        self._instance_commands = instances
        self._instances: list[_Instance] = []
        self._control: ControlBlock | None = None
        self._state: RunState | None = None
        self._look_at = 0.0
        self._ticks = Ticks()

    def run(self) -> Outcome:
        """Run until loadrun has ended well.

        Raises InterruptedRunError on an ending signal, InputError where loadrun refuses its input,
        RunError otherwise; `outcome` holds what was seen in every case.
        """
        with self._aside:
            return self._run()

    def _run(self) -> Outcome:
        self._started = time.monotonic()
        self._loadrun = self._start(self._loadrun_command)
        self._loadrun_silence = Silence(self._loadrun.pid, self._stall_limit_s)
        self._output = Tail(self._loadrun.log)
        try:
            for index, command in enumerate(self._instance_commands):
                self._instances.append(self._start_instance(index, command))
            while True:
                pause_s = RUNNING_POLL_S if self._settled() else STARTING_POLL_S
                self._signals.wait(pause_s)
                self._ticks.tick(time.monotonic_ns(), pause_s)
                if self._signals.ending is not None:
                    raise InterruptedRunError(f"interrupted by {self._signals.ending.name}")
                self._forward_output()
                self._follow_state()
                if self._loadrun_ended():
                    break
                self._look_for_stalls()
                self._look_after_instances()
                self._listener.progress()
            # Workers leave by themselves once the run is STOPPING.
            wait_all(
                [i.child for i in self._instances],
                self._signals,
                timeout_s=LEAVE_S,
                until_count=self._signals.count + 1,
            )
            return self.outcome
        finally:
            self._clean_up()

    def _settled(self) -> bool:
        """Whether nothing is to be done before something happens that wakes the supervisor."""
        serving = self._state is RunState.RUNNING or not self._instance_commands
        return serving and all(i.lost_generation is None or i.given_up for i in self._instances)

    def _start(self, command: Command) -> Child:
        with self._aside.left():
            return start(
                command.name,
                command.words,
                log=self._directory / f"{command.name}.log",
                environment=command.environment,
                pinning=self._pinning,
                processors=command.processors,
                memory_node=command.memory_node,
            )

    def _start_instance(self, index: int, command: Command) -> _Instance:
        child = self._start(command)
        silence = Silence(child.pid, self._stall_limit_s)
        return _Instance(index, command, child, silence, started=time.monotonic())

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._started, 3)

    def _follow_state(self) -> None:
        if self._control is None:
            try:
                self._control = ControlBlock.attach(self._run_id)
            except SegmentMissing:
                return  # loadrun has not created it yet
            except ShmError as error:
                raise RunError(str(error)) from None
            self._listener.attached(self._control)
        state = RunState(self._control.run_state)
        if state is not self._state:
            self._state = state
            self.outcome.phases_s[state.name.lower()] = self._elapsed()
            if state is RunState.RUNNING:
                self.outcome.loadrun_binding = read_binding(self._loadrun.pid)
            self._listener.phase(state)

    def _loadrun_ended(self) -> bool:
        code = self._loadrun.ended()
        if code is None:
            return False
        self._forward_output()
        if code == 0:
            return True
        words = self._loadrun.last_words()
        error = error_line(words)
        if code == InputError.code:
            raise InputError(error or "loadrun refused its configuration")
        self.outcome.poison = read_poison(
            loadrun_report(self._report), self.outcome.deaths, self._names_of
        )
        if self.outcome.poison is not None:
            raise RunError(str(self.outcome.poison))
        self._explain_from_instances()
        reason = (
            f": {error}" if error else f"; its last lines:\n{words}" if words and code > 0 else ""
        )
        raise RunError(f"loadrun {describe_end(code)}{reason}")

    def _explain_from_instances(self) -> None:
        """An instance that ended badly is the cause when loadrun gave up because of it."""
        if RunState.RUNNING.name.lower() in self.outcome.phases_s:
            return
        # The instance's end may be noticed a moment after loadrun's, which noticed it first.
        wait_all([i.child for i in self._instances], self._signals, timeout_s=0.5)
        for instance in self._instances:
            code = instance.child.ended()
            if code is not None and code != 0:
                raise self._start_failed(instance, code)

    def _start_failed(self, instance: _Instance, code: int) -> RunError:
        words = instance.child.last_words()
        return RunError(
            f"instance {instance.index} {instance.verdict or describe_end(code)}"
            " before it was ready"
            + (f"; its last lines:\n{words}" if words else "; it printed nothing")
        )

    def _look_for_stalls(self) -> None:
        """Kill whoever has stopped: that is an end like any other then."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + WATCH_S
        # loadrun has a thread that works whatever LoadGen does: only a stop means something.
        verdict = self._loadrun_silence.look(now, None, None)
        if verdict is not None:
            raise RunError(f"loadrun {verdict}")
        for instance in self._instances:
            if instance.verdict is None and not instance.child.seen_to_end:
                instance.verdict = self._stalled(instance, now)
                if instance.verdict is not None:
                    kill(instance.child)

    def _stalled(self, instance: _Instance, now: float) -> End | None:
        heartbeat = batch_s = None
        if self._control is not None and instance.lost_generation is None:
            record = self._control.instance(instance.index)
            heartbeat = record.heartbeat_ns
            ready = record.state == InstanceState.READY and record.pid == instance.child.pid
            if ready and self._state is RunState.RUNNING and record.rate > 0:
                batch_s = longest_batch_s(record.rate, self._batch_cost, self._longest_cost)
            elif self._state is RunState.RUNNING and not ready:
                took_s = now - instance.started
                if took_s > self._start_timeout_s:
                    return End(Cause.LATE, f"was not ready within {took_s:.0f} s")
        verdict = instance.silence.look(now, heartbeat, batch_s)
        return verdict and replace(verdict, text=f"{verdict} and was killed")

    def _look_after_instances(self) -> None:
        for instance in self._instances:
            if instance.given_up:
                continue
            if instance.lost_generation is not None:
                self._restart_when_reset(instance)
                continue
            code = instance.child.ended()
            if code is None:
                self._read_back(instance)
                continue
            self._follow_state()  # it may have changed since this turn began
            if self._state is RunState.RUNNING:
                self._note_death(instance, code)
            elif self._state is not RunState.STOPPING:
                raise self._start_failed(instance, code)
            elif code != 0 and self._control is not None:
                # Everything is answered; loadrun need not wait for it.
                self._control.instance(instance.index).state = InstanceState.DEAD
        if self._instances and all(i.given_up for i in self._instances):
            self._fail_without_instances()

    def _read_back(self, instance: _Instance) -> None:
        """Record the kernel's view of the binding once the instance is ready."""
        if instance.index in self.outcome.bindings or self._control is None:
            return
        if self._control.instance(instance.index).state == InstanceState.READY:
            binding = read_binding(instance.child.pid)
            if binding is not None:
                self.outcome.bindings[instance.index] = binding
                if set(binding.processors) != set(instance.command.processors):
                    self._listener.notice(
                        f"instance {instance.index} runs on processors {binding.processors},"
                        f" planned were {instance.command.processors}"
                    )

    def _note_death(self, instance: _Instance, code: int) -> None:
        assert self._control is not None
        record = self._control.instance(instance.index)
        instance.lost_generation = record.generation
        memory_ran_out = self._oom_kills.rose()
        end = instance.verdict or end_of(code, memory_ran_out)
        self.outcome.deaths.append(
            Death(
                instance.index,
                self._elapsed(),
                end.text,
                end.cause,
                instance.child.last_words(),
                restarted=instance.restarts < self._max_restarts,
            )
        )
        record.blame = end.cause.blame
        # Last: loadrun acts on it at once.
        record.state = InstanceState.DEAD
        again = "restarting it" if self.outcome.deaths[-1].restarted else "not restarted any more"
        self._listener.notice(
            f"instance {instance.index} {end}; its unanswered batches go to the others, {again}"
        )

    def _restart_when_reset(self, instance: _Instance) -> None:
        assert self._control is not None
        if self._control.instance(instance.index).generation == instance.lost_generation:
            return
        instance.lost_generation = None
        if instance.restarts >= self._max_restarts:
            instance.given_up = True
            return
        again = self._start_instance(instance.index, instance.command)
        instance.restarts += 1
        instance.child, instance.silence = again.child, again.silence
        instance.verdict, instance.started = None, again.started

    def _fail_without_instances(self) -> None:
        assert self._control is not None
        for instance in self._instances:
            self._control.instance(instance.index).state = InstanceState.FAILED
        self._control.run_state = RunState.STOPPING
        wait_all([self._loadrun], self._signals, timeout_s=LEAVE_S)
        last = self.outcome.deaths[-1]
        raise RunError(
            f"no instance is left; instance {last.instance} {last.end}"
            + (f"; its last lines:\n{last.last_words}" if last.last_words else "")
        )

    def _note_stops(self) -> None:
        """Who was stopped for a while and went on; what held up launch too is no stop by itself."""
        own = self._ticks.late
        stops = self._loadrun_silence.stops
        self.outcome.late = own + [(int(1e9 * first), int(1e9 * last)) for first, last in stops]
        for instance in self._instances:
            for first, last in instance.silence.stops:
                alone = not any(start < 1e9 * last and 1e9 * first < end for start, end in own)
                if alone and instance.verdict is None and last - first > NOTED_STOP_S:
                    self.outcome.stops.append((instance.index, round(last - first, 1)))

    def _forward_output(self) -> None:
        for line in self._output.lines():
            self._listener.loadrun_printed(line)

    def _clean_up(self) -> None:
        children = [i.child for i in self._instances]
        # loadrun first: it is the one that unlinks its segments, and it stops the instances.
        end_all([self._loadrun], self._signals, patience_s=PATIENCE_S)
        end_all(children, self._signals, patience_s=PATIENCE_S)
        if self._control is not None:
            self._control.close()
        self._note_stops()
        self.outcome.removed_segments = reclaim(self._run_id)
        self.outcome.phases_s["ended"] = self._elapsed()
