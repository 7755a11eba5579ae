"""The life of one instance: load, attach, warm up, serve, leave.

Loading needs nothing of loadrun, so both start at the same time. The control block leads: an
instance reports LOADED, measures its rate when the run's state is WARMUP (all instances at once, as
they will run), reports READY, and serves until the state is STOPPING and its ring is empty.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack
from typing import Any

from base.errors import ConfigError, ExitCode
from base.parent import die_with_parent
from models.packages import cannot_load
from netrun.answers import pack, pieces
from netrun.batch import ArenaBatch
from netrun.config import NetrunConfig
from netrun.engines import Answer, EngineError
from netrun.engines.engine import AnswersOf
from netrun.loading import load
from netrun.pulse import Pulse
from netrun.report import StartClock, write_report
from netrun.warmup import measure_rate
from shm.arena import SampleArena
from shm.control import ControlBlock, InstanceRecord, InstanceState, RunState
from shm.ring import RequestConsumer, ResponseProducer, Rings
from shm.segment import SegmentMissing, ShmError
from shm.wait import WaitStrategy

IDLE_S = 0.2  # how long an idle instance waits before it looks at the control block again
POLL_S = 0.01
BUSY_LOOK_NS = 500_000_000  # how often a busy one looks whether loadrun still lives


class LeaveError(Exception):
    """There is nothing left to do here: loadrun is gone, or the run ended before it began."""


def main(arguments: list[str]) -> int:
    """Run the instance that the configuration file names; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is launch's to handle
    # Nothing is to be put in order here, and a process that is stopped heeds nothing else.
    die_with_parent(signal.SIGKILL)
    if len(arguments) != 1:
        print("netrun: error: usage: python -m netrun CONFIG.json")
        return ExitCode.USAGE
    try:
        config = NetrunConfig.load(arguments[0])
    except ConfigError as error:
        print(f"netrun: error: {error}")
        return ExitCode.USAGE
    try:
        _run(config)
    except LeaveError as reason:
        print(f"netrun {config.instance}: {reason}", file=sys.stderr)
    except Exception as error:
        # Engines end in errors of their libraries, too: one line, and launch sees to the rest.
        known = isinstance(error, (EngineError, ShmError))
        told = str(error) if known else cannot_load(error) or f"{type(error).__name__}: {error}"
        first = told.partition("\n")[0]
        print(f"netrun {config.instance}: error: {first}", file=sys.stderr)
        _report_failure(config)
        return ExitCode.FAILED
    return ExitCode.OK


def _run(config: NetrunConfig) -> None:
    clock = StartClock()
    clock.reached("imported")
    pulse = Pulse()
    engine, answer = load(config, pulse)
    clock.reached("prepared")
    with ExitStack() as stack:
        control = _attach(config, stack)
        record = control.instance(config.instance)
        stack.callback(record.close)
        arena = stack.enter_context(SampleArena.attach(config.run_id))
        spin = WaitStrategy(config.spin_us / 1e6)
        rings = stack.enter_context(Rings.attach(config.run_id, wait_strategy=spin))
        record.pid = os.getpid()
        record.heartbeat_ns = time.monotonic_ns()
        pulse.show_in(record)
        record.state = InstanceState.LOADED
        clock.reached("loaded")
        if not _restarted(control):
            _await_warmup(control)
            clock.reached("warmup")
            record.rate = measure_rate(
                *(answer, arena, config.batch_size, config.warmup_s, config.instance),
                config.batch_cost,
            )
        requests = rings.request_consumer(config.instance)
        responses = rings.response_producer(config.instance)
        write_report(config, engine, record.rate, clock)
        record.state = InstanceState.READY
        most = rings.geometry.response_bytes
        _serve(answer, arena, requests, responses, control, record, most)
        record.state = InstanceState.STOPPED


def _attach(config: NetrunConfig, stack: ExitStack) -> ControlBlock:
    """loadrun creates the control block last: whoever finds it finds the other segments too."""
    deadline = time.monotonic() + config.attach_timeout_s
    while True:
        try:
            control = ControlBlock.attach(config.run_id)
        except SegmentMissing:
            if time.monotonic() > deadline:
                raise ShmError(
                    f"run {config.run_id} made no segments in {config.attach_timeout_s:g} s"
                ) from None
            time.sleep(POLL_S)
            continue
        return stack.enter_context(control)


def _restarted(control: ControlBlock) -> bool:
    """Whether the run is under way already: this instance takes the place of one that died."""
    return control.run_state is RunState.RUNNING


def _await_warmup(control: ControlBlock) -> None:
    look_at = time.monotonic()
    pause_s = POLL_S
    while control.run_state is RunState.STARTING:
        # Seldom: it reads files, and hundreds of instances may wait for the last one here.
        if time.monotonic() >= look_at:
            look_at += IDLE_S
            if not control.owner_alive():
                raise LeaveError("loadrun is gone")
        time.sleep(pause_s)
        pause_s = min(IDLE_S, 1.2 * pause_s)
    if control.run_state is RunState.STOPPING:
        raise LeaveError("the run ended before it began")


def _serve(
    answer: AnswersOf,
    arena: SampleArena,
    requests: RequestConsumer,
    responses: ResponseProducer,
    control: ControlBlock,
    record: InstanceRecord,
    most: int,
) -> None:
    receive, now = requests.receive, time.monotonic_ns
    answered = batches = busy = 0
    look_at = now() + BUSY_LOOK_NS
    while True:
        request = receive(IDLE_S)
        if request is None:
            # A batch that was sent before STOPPING was seen is still found: look once more.
            if control.run_state is RunState.STOPPING and receive(0.0) is None:
                return
            if not control.owner_alive():
                raise LeaveError("loadrun is gone")
            record.heartbeat_ns = now()
            continue
        ids, positions = request
        begin = now()
        packed = pack(answer(ArenaBatch(arena, positions)), len(ids), most)
        end = now()
        _send(responses, ids, packed, end - begin, control, record)
        answered += len(ids)
        batches += 1
        busy += end - begin
        record.samples, record.batches, record.busy_ns = answered, batches, busy
        record.heartbeat_ns = end
        if end > look_at:
            look_at = end + BUSY_LOOK_NS
            if not control.owner_alive():
                raise LeaveError("loadrun is gone")


def _send(
    responses: ResponseProducer,
    ids: list[int],
    packed: Answer,
    service_ns: int,
    control: ControlBlock,
    record: InstanceRecord,
) -> None:
    """Send the answers to a batch; in parts where they do not fit a slot of the ring."""
    payload, lengths = packed
    size = len(ids) * lengths if isinstance(lengths, int) else sum(lengths)
    if size <= responses.capacity:
        while not responses.send(ids, payload, lengths, service_ns, IDLE_S):
            _look(control, record)
        return
    for part in pieces(ids, packed, responses.capacity):
        while not responses.send(
            part.ids, part.payload, part.lengths, service_ns, IDLE_S, part.rest
        ):
            _look(control, record)


def _look(control: ControlBlock, record: InstanceRecord) -> None:
    """While loadrun takes no answers: give a sign of life, and see whether it lives."""
    record.heartbeat_ns = time.monotonic_ns()
    if not control.owner_alive():
        raise LeaveError("loadrun is gone")


def _report_failure(config: NetrunConfig) -> None:
    """Say FAILED in the control block, so that loadrun does not wait; launch sees the exit code."""
    try:
        with ControlBlock.attach(config.run_id) as control:
            record: Any = control.instance(config.instance)
            record.state = InstanceState.FAILED
            record.close()
    except ShmError:
        pass  # loadrun is not there yet, or no longer
