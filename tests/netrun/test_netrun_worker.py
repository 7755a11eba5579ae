"""An instance as a real process, over real segments: the test is its loadrun."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netrun.config import NetrunConfig, SimulatedService
from shm.arena import ArenaField, ArenaLayout, SampleArena
from shm.control import ControlBlock, InstanceState, RunState
from shm.reclaim import reclaim
from shm.ring import RingGeometry, Rings

ROOT = Path(__file__).resolve().parents[2]
BATCH = 4
LAYOUT = ArenaLayout(16, (ArenaField("pixels", "|u1", (8, 8, 3)),))


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(0.005)


class Run:
    """Segments of a run with one instance, and that instance."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.run_id = f"net{os.urandom(6).hex()}"
        self.config = replace(
            NetrunConfig(
                run_id=self.run_id,
                instance=0,
                model="resnet50",
                engine="null",
                precision="int8",
                artifact="",
                batch_size=BATCH,
                threads=1,
                report=str(folder / "report.json"),
                warmup_s=0.05,
            ),
            **changes,
        )
        self.path = folder / "config.json"
        self.path.write_text(self.config.to_json())
        self.log = folder / "log"
        self.stack = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def create_segments(self) -> None:
        arena = self.stack.enter_context(SampleArena.create(self.run_id, LAYOUT))
        self.stack.callback(arena.unlink)
        for position in range(16):
            arena.put(position, position, 1.0, {"pixels": np.zeros((8, 8, 3), np.uint8)})
        self.rings = self.stack.enter_context(
            Rings.create(self.run_id, RingGeometry(1, 3, BATCH, 4))
        )
        self.stack.callback(self.rings.unlink)
        self.control = self.stack.enter_context(ControlBlock.create(self.run_id, 1))
        self.stack.callback(self.control.unlink)
        self.record = self.control.instance(0)
        self.stack.callback(self.record.close)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        words = command or ("-m", "netrun")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *words, str(self.path)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        return self.process

    def reach(self, state: InstanceState) -> None:
        def reached() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return self.record.state is state

        wait_for(reached, state.name)

    def serve(self, *command: str) -> None:
        self.create_segments()
        self.start(*command)
        self.reach(InstanceState.LOADED)
        self.control.run_state = RunState.WARMUP
        self.reach(InstanceState.READY)
        self.control.run_state = RunState.RUNNING

    def ask(self, ids: list[int]) -> tuple[list[int], bytes]:
        assert self.rings.request_producer(0).try_send(ids, [i % 16 for i in ids])
        consumer = self.rings.response_consumer(0)
        wait_for(lambda: consumer.peek() is not None, "an answer")
        response = consumer.peek()
        assert response is not None
        answer = list(response.ids), bytes(response.payload[: sum(response.lengths)])
        response.release()
        return answer

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self.stack.close()


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    made: list[Run] = []

    def make(**changes: object) -> Run:
        made.append(Run(tmp_path, **changes))
        return made[-1]

    yield make
    for run in made:
        run.end()


def test_an_instance_loads_warms_up_serves_and_leaves(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.serve()
    assert run.ask([7, 2**63 + 5, 9]) == ([7, 2**63 + 5, 9], bytes(12))
    assert run.ask([1]) == ([1], bytes(4))
    wait_for(lambda: (run.record.samples, run.record.batches) == (4, 2), "the counts")
    assert run.record.rate > 0
    report = json.loads(Path(run.config.report).read_text())
    assert report["pid"] == run.record.pid == run.process.pid
    assert report["affinity"] == sorted(os.sched_getaffinity(run.process.pid))
    phases = report["phases_s"]
    assert list(phases) == ["imported", "prepared", "loaded", "warmup", "ready"]
    assert phases["imported"] > 0
    assert sorted(phases.values()) == list(phases.values())
    assert phases["ready"] - phases["warmup"] >= run.config.warmup_s / 5
    run.control.run_state = RunState.STOPPING
    assert run.process.wait(10) == 0
    assert run.record.state is InstanceState.STOPPED


def test_a_batch_sent_just_before_the_end_is_answered(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.serve()
    assert run.rings.request_producer(0).try_send([3, 4], [0, 1])
    run.control.run_state = RunState.STOPPING
    assert run.process.wait(10) == 0
    response = run.rings.response_consumer(0).peek()
    assert response is not None
    assert response.ids == [3, 4]
    response.release()


def test_loading_does_not_wait_for_the_segments(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.start()
    run.create_segments()
    run.reach(InstanceState.LOADED)


def test_an_instance_without_a_run_gives_up(make_run: Callable[..., Run]) -> None:
    run = make_run(attach_timeout_s=0.3)
    assert run.start().wait(20) == 4
    assert f"run {run.run_id} made no segments" in run.log.read_text()


def test_a_run_that_ends_before_the_warm_up(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.create_segments()
    run.start()
    run.reach(InstanceState.LOADED)
    run.control.run_state = RunState.STOPPING
    assert run.process.wait(10) == 0
    assert "ended before it began" in run.log.read_text()


def test_a_restarted_instance_joins_a_running_test(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.create_segments()
    run.control.run_state = RunState.RUNNING
    run.start()
    run.reach(InstanceState.READY)
    assert run.ask([5])[0] == [5]


def test_an_artifact_that_cannot_be_loaded(make_run: Callable[..., Run], tmp_path: Path) -> None:
    bad = tmp_path / "artifact"
    bad.write_bytes(b"nothing of the kind")
    run = make_run(engine="onednn", artifact=str(bad))
    run.create_segments()
    assert run.start().wait(20) == 4
    assert f"netrun 0: error: {bad}" in run.log.read_text()
    assert run.record.state is InstanceState.FAILED


BREAKS = """
import sys
from netrun import worker
from netrun.engines.null import NullEngine
from netrun.engines.onednn.library import OneDNNError

serving = False

def answer(batch):
    global serving
    serving = serving or batch.positions == [1]  # the test's first question
    if serving and batch.positions == [13]:
        raise OneDNNError("dnnl_primitive_execute: runtime error")
    if serving and batch.positions == [14]:
        raise ValueError("first line\\nsecond line")
    if serving and batch.positions == [12]:
        return [b"12345"]
    return [bytes(4)] * (len(batch) - (serving and batch.positions == [11]))

worker.load = lambda config, pulse: (NullEngine(config.batch_size), answer)
sys.exit(worker.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("position", "said"),
    [
        (13, "netrun 0: error: OneDNNError: dnnl_primitive_execute: runtime error\n"),
        (14, "netrun 0: error: ValueError: first line\n"),
        (
            12,
            "netrun 0: error: the task answered a sample with 5 bytes; its answer_bytes is 4\n",
        ),
        (11, "netrun 0: error: the task gave 0 answers to a batch of 1 samples\n"),
    ],
)
def test_an_engine_that_fails_while_serving(
    make_run: Callable[..., Run], position: int, said: str
) -> None:
    run = make_run()
    run.serve("-c", BREAKS)
    assert run.ask([1])[0] == [1]
    assert run.rings.request_producer(0).try_send([8], [position])
    assert run.process.wait(10) == 4
    assert run.log.read_text() == said
    assert run.record.state is InstanceState.FAILED


STEPS = """
import sys
from types import SimpleNamespace
import numpy as np
from netrun import worker
from netrun.engines.engine import answers

class Engine:
    def part(self, name):
        return lambda image: {"logits": np.zeros(len(image))}

def infer(run, batch):
    run["network"](image=[1, 2, 3])
    if batch.positions == [9]:
        open(sys.argv[2]).read()
    run["network"](image=[4])
    return [bytes(4)] * len(batch)

task = SimpleNamespace(parts=[SimpleNamespace(name="network")], stepwise=True, infer=infer)
worker.load = lambda config, pulse: (SimpleNamespace(describe=dict), answers(task, Engine(), pulse))
sys.exit(worker.main(sys.argv[1:2]))
"""


def test_steps_of_a_batch_are_signs_of_life_before_its_end(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "held")
    script = tmp_path / "steps.py"
    script.write_text(STEPS.replace("sys.argv[2]", repr(str(tmp_path / "held"))))
    run = make_run()
    run.serve("-c", script.read_text())
    record = run.record
    run.ask([1])
    before, samples, busy = record.steps, record.samples, record.busy_ns
    heartbeat = record.heartbeat_ns
    assert before % 4 == 0
    assert run.rings.request_producer(0).try_send([9], [9])
    wait_for(lambda: record.steps == before + 3, "the first step")
    assert record.samples == samples
    assert record.busy_ns > busy
    assert record.heartbeat_ns > heartbeat
    (tmp_path / "held").write_text("")
    wait_for(lambda: record.samples == samples + 1, "the answer")
    assert record.steps == before + 4


def test_an_instance_leaves_when_its_parent_is_killed(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = make_run()
    run.create_segments()
    # The parent in between is killed without a chance to say anything.
    script = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-m", "netrun", {str(run.path)!r}])
print(child.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    wait_for(lambda: run.record.state is InstanceState.LOADED, "LOADED")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    def gone() -> bool:
        try:
            return "Z" in Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True

    wait_for(gone, "the instance's end")


def test_an_instance_leaves_when_loadrun_is_gone(tmp_path: Path) -> None:
    """The owner of the segments dies; the instance has another parent and finds out by itself."""
    run = Run(tmp_path)
    script = f"""
import sys
from shm.arena import ArenaField, ArenaLayout, SampleArena
from shm.control import ControlBlock, RunState
from shm.ring import RingGeometry, Rings
SampleArena.create({run.run_id!r}, ArenaLayout(16, (ArenaField("pixels", "|u1", (8, 8, 3)),)))
Rings.create({run.run_id!r}, RingGeometry(1, 3, {BATCH}, 4))
control = ControlBlock.create({run.run_id!r}, 1)
control.run_state = RunState.RUNNING
print("created", flush=True)
sys.stdin.read()
"""
    owner = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"created\n"
        worker = run.start()
        with ControlBlock.attach(run.run_id) as control:
            record = control.instance(0)
            wait_for(lambda: record.state is InstanceState.READY, "READY")
            record.close()
        owner.kill()
        owner.communicate()
        assert worker.wait(5) == 0
        assert "loadrun is gone" in run.log.read_text()
    finally:
        owner.kill()
        owner.communicate()
        run.end()
        reclaim(run.run_id)


def test_ctrl_c_is_not_for_instances(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.serve()
    run.process.send_signal(signal.SIGINT)
    assert run.ask([1])[0] == [1]


def test_the_simulated_engine_takes_its_time_without_computing(
    make_run: Callable[..., Run],
) -> None:
    run = make_run(engine="sim", sim=SimulatedService(base_ms=2, sample_ms=10, jitter=0))
    run.serve()
    run.ask([1, 2, 3])
    wait_for(lambda: run.record.batches == 1, "the count")
    # 32 ms; warm-up measures the same model, 4 samples in 42 ms. Less on a busy machine: what it
    # slept too long is taken off the next one. Nothing at all would take microseconds.
    assert run.record.busy_ns >= 32e6 / 4
    assert run.record.rate <= 4 * 4 / 0.042


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "not a netrun configuration"),
        ('{"cores": 3}', "unknown key 'cores'"),
        ('{"run_id": "abcd"}', "missing"),
    ],
)
def test_a_bad_configuration_is_one_line(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "netrun", str(path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1
    assert str(path) in done.stdout
    assert named in done.stdout
