"""Processor time of instances that wait for work."""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from launch.configs import OWN_CORE_SPIN_US
from launch.supervise.environment import base_environment
from netrun.config import NetrunConfig
from shm.arena import ArenaField, ArenaLayout, SampleArena
from shm.control import ControlBlock, InstanceState, RunState
from shm.ring import RingGeometry, Rings

READY_S = 60.0


def idle_share(instances: int, seconds: float) -> dict[str, float]:
    """Return the processor time of `instances` parked netruns in % of a core: mean and busiest."""
    run_id = f"bench{secrets.token_hex(6)}"
    with (
        tempfile.TemporaryDirectory(prefix="loadrun-bench-") as name,
        SampleArena.create(
            run_id, ArenaLayout(1, (ArenaField("pixels", "|u1", (4, 4, 3)),))
        ) as arena,
        Rings.create(run_id, RingGeometry(instances, 3, 1, 4)),
        ControlBlock.create(run_id, instances) as control,
    ):
        arena.put(0, 0, 1.0, {"pixels": np.zeros((4, 4, 3), np.uint8)})
        processes = [_start(run_id, index, Path(name)) for index in range(instances)]
        try:
            _await(control, InstanceState.LOADED)
            control.run_state = RunState.WARMUP
            _await(control, InstanceState.READY)
            control.run_state = RunState.RUNNING
            before = [processor_s(process.pid) for process in processes]
            time.sleep(seconds)
            after = [processor_s(process.pid) for process in processes]
            control.run_state = RunState.STOPPING
        finally:
            for process in processes:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
    used = [100 * (b - a) / seconds for a, b in zip(before, after, strict=True)]
    return {"percent_mean": sum(used) / len(used), "percent_most": max(used)}


def _start(run_id: str, index: int, directory: Path) -> subprocess.Popen[bytes]:
    config = NetrunConfig(
        run_id=run_id,
        instance=index,
        model="resnet50",
        engine="null",
        precision="int8",
        artifact="",
        batch_size=1,
        threads=1,
        report=str(directory / f"netrun_{index}.json"),
        warmup_s=0.05,
        spin_us=OWN_CORE_SPIN_US,
    )
    path = directory / f"netrun_{index}.config.json"
    path.write_text(config.to_json(), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "netrun", str(path)], cwd=directory, env=base_environment()
    )


def _await(control: ControlBlock, state: InstanceState) -> None:
    deadline = time.monotonic() + READY_S
    while not (control.states() == state).all():
        if time.monotonic() > deadline:
            sys.exit(f"the instances are not {state.name} after {READY_S:g} s")
        time.sleep(0.01)


def processor_s(pid: int) -> float:
    """Processor time of a process so far, s; /proc's schedstat counts nanoseconds."""
    tasks = Path(f"/proc/{pid}/task")
    return (
        sum(
            int((task / "schedstat").read_text(encoding="utf-8").split()[0])
            for task in tasks.iterdir()
        )
        / 1e9
    )
