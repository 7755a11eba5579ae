"""A worker over the real rings that answers each sample with its first four bytes.

`python echo_worker.py RUN_ID INSTANCE [--rate R] [--service-s S] [--fail-loading] [--hold PATH]`
"""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path

import numpy as np

from base.parent import signal_when_parent_dies
from shm.arena import SampleArena
from shm.control import ControlBlock, InstanceState, RunState
from shm.ring import Rings
from shm.segment import SegmentMissing


def attach(run_id: str) -> ControlBlock:
    deadline = time.monotonic() + 20
    while True:
        try:
            return ControlBlock.attach(run_id)
        except SegmentMissing:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run_id")
    parser.add_argument("instance", type=int)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--service-s", type=float, default=0.0)
    parser.add_argument("--fail-loading", action="store_true")
    parser.add_argument("--hold", type=Path, help="keep one batch, make this file, never answer")
    options = parser.parse_args()
    signal_when_parent_dies(signal.SIGKILL)

    control = attach(options.run_id)
    record = control.instance(options.instance)
    if options.fail_loading:
        record.state = InstanceState.FAILED
        return 4
    rings = Rings.attach(options.run_id)
    arena = SampleArena.attach(options.run_id)
    requests = rings.request_consumer(options.instance)
    responses = rings.response_producer(options.instance)
    answers = arena.columns["pixels"].reshape(arena.slots, -1)[:, :4].view(np.int32)[:, 0]
    record.state = InstanceState.LOADED
    while control.run_state == RunState.STARTING:
        if not control.owner_alive():
            return 1
        time.sleep(0.002)
    record.rate = options.rate
    record.state = InstanceState.READY
    while True:
        request = requests.receive(0.1)
        if request is None:
            if control.run_state == RunState.STOPPING or not control.owner_alive():
                break
            continue
        if options.hold:
            options.hold.touch()
            signal.pause()
        start = time.monotonic_ns()
        if options.service_s:
            time.sleep(options.service_s * len(request.ids))
        responses.send(request.ids, answers[request.positions], 4, time.monotonic_ns() - start)
    record.state = InstanceState.STOPPED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
