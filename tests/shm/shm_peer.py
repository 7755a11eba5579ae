"""The far end of a ring, as a process: `shm_peer.py ROLE RUN_ID [ARGUMENT]`."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from array import array
from collections.abc import Callable

from shm.control import ControlBlock
from shm.ring import Request, RequestConsumer, RingGeometry, Rings
from shm.wait import WaitStrategy

STOP = 0
"""The response id that ends a peer."""


def answer(request: Request) -> tuple[bytes, list[int]]:
    """What a peer answers: for each sample, its position as text."""
    parts = [str(position).encode() for position in request.positions]
    return b"".join(parts), [len(part) for part in parts]


def echo(run_id: str, seed: str, spin_s: str) -> None:
    """Answer until told to stop, now and then late."""
    jitter = random.Random(int(seed))
    rings = Rings.attach(run_id, wait_strategy=WaitStrategy(float(spin_s)))
    consumer, producer = rings.request_consumer(0), rings.response_producer(0)
    while True:
        request = _receive(consumer)
        if request.ids[0] == STOP:
            break
        if jitter.random() < 0.002:
            time.sleep(jitter.random() * 1e-3)
        producer.send(request.ids, *answer(request), service_ns=sum(request.positions))
    rings.close()


def die_before_publish(run_id: str) -> None:
    """Take a batch, fill the slot of its answer and die."""
    rings = Rings.attach(run_id)
    producer = rings.response_producer(0)
    _receive(rings.request_consumer(0))
    for slot, payload in zip(producer._slots, producer._payloads, strict=True):
        slot[:] = array("Q", [2**64 - 1] * len(slot))
        payload[:] = b"\xff" * len(payload)
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_wake(run_id: str) -> None:
    """Take a batch, publish its answer and die before ringing."""
    rings = Rings.attach(run_id)
    producer = rings.response_producer(0)

    class Trap:
        def ring(self) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

    producer._doorbell = Trap()  # type: ignore[assignment]
    request = _receive(rings.request_consumer(0))
    producer.send(request.ids, *answer(request), service_ns=1)


def own(run_id: str) -> None:
    """Create a run and live on."""
    rings = Rings.create(run_id, RingGeometry(2, 2, 4, 4))
    control = ControlBlock.create(run_id, 2)
    print("created", flush=True)
    signal.pause()
    del rings, control


def _receive(consumer: RequestConsumer) -> Request:
    while True:
        request = consumer.receive(0.25)
        if request is not None:
            return request
        if os.getppid() == 1:
            sys.exit("the test is gone")


if __name__ == "__main__":
    _, role, *arguments = sys.argv
    roles: dict[str, Callable[..., None]] = {
        "echo": echo,
        "die_before_publish": die_before_publish,
        "die_before_wake": die_before_wake,
        "own": own,
    }
    roles[role](*arguments)
