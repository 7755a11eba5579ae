"""``python -m bench.soak_ring``: millions of messages between two processes, checked one by one.

The far end answers each batch with a function of its positions and is now and then late; so is this
end. Rings of different depth start just before 2^32 and 2^63, so that the positions run across; in
the last case the far end is killed at random moments, its rings are reset and what it had not
answered is sent again. Whatever is lost, repeated, out of order or changed ends the soak.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass

from bench.parts.figures import show
from launch.supervise.environment import base_environment
from shm.ring import Request, RingGeometry, Rings
from shm.wait import WaitStrategy

BATCH = 8
BYTES = 8
STOP = 0
SILENCE_S = 20.0


@dataclass(frozen=True)
class Case:
    """`kills`: the far end is killed after about so many messages, 0 for never."""

    name: str
    slots: int
    first_position: int
    spin_s: float
    kills: int = 0


def main() -> None:
    """Soak every case, print a table; exit code 1 and a line where something is wrong."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--messages", type=int, default=1_000_000, help="of each case")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.peer:
        _answer(*options.peer)
        return
    half = options.messages // 2
    rows = []
    for case in (
        Case("one slot, from 0", 1, 0, 100e-6),
        Case("3 slots, across 2^32, parking", 3, 2**32 - half, 0.0),
        Case("4 slots, across 2^63", 4, 2**63 - half, 20e-6),
        Case("3 slots, far end killed", 3, 2**63 - half, 50e-6, kills=options.messages // 20),
    ):
        started = time.monotonic()
        counted = _soak(case, options.messages, options.seed)
        took_s = time.monotonic() - started
        rows.append([case.name, *counted, options.messages / took_s])
        print(f"{case.name}: {options.messages} messages as they should be", flush=True)
    show(
        f"Soak, {options.messages} messages a case",
        ["", "samples", "full ring", "kills", "messages/s"],
        rows,
    )


def _soak(case: Case, messages: int, seed: int) -> tuple[int, int, int]:
    """Return samples answered, refusals of a full ring, kills."""
    draw = random.Random(seed)
    run_id = f"soak{secrets.token_hex(6)}"
    geometry = RingGeometry(1, case.slots, BATCH, BYTES)
    wait = WaitStrategy(case.spin_s)
    samples = refused = kills = sent = answered = 0
    todo: deque[Request] = deque()
    out: deque[Request] = deque()
    with Rings.create(
        run_id, geometry, wait_strategy=wait, first_position=case.first_position
    ) as rings:
        producer, consumer = rings.request_producer(0), rings.response_consumer(0)
        peer = _start(run_id, seed, case.spin_s)
        kill_at = draw.randint(1, 2 * case.kills) if case.kills else messages + 1
        try:
            while answered < messages:
                limit = draw.choice((1, case.slots, case.slots + 1))
                while len(out) < limit and (todo or sent < messages):
                    if todo:
                        request = todo.popleft()
                    else:
                        request = _request(draw)
                        sent += 1
                    if not producer.try_send(*request):
                        todo.appendleft(request)
                        refused += 1
                        break
                    out.append(request)
                if draw.random() < 0.001:
                    time.sleep(draw.random() * 1e-3)
                if answered >= kill_at:
                    os.kill(peer.pid, signal.SIGKILL)
                    peer.wait()
                    kills += 1
                    kill_at = answered + draw.randint(1, 2 * case.kills)
                elif not rings.wait_responses(SILENCE_S):
                    sys.exit(f"{case.name}: no answer in {SILENCE_S:g} s after {answered} messages")
                while (response := consumer.peek()) is not None:
                    request = out.popleft()
                    got = (response.ids, response.service_ns, bytes(response.payload))
                    if got != (request.ids, sum(request.positions), _payload(request.positions)):
                        sys.exit(f"{case.name}: message {answered} came back as {got}")
                    response.release()
                    samples += len(request.ids)
                    answered += 1
                if peer.returncode is not None:
                    rings.reset(0)
                    todo.extendleft(reversed(out))
                    out.clear()
                    peer = _start(run_id, seed + kills, case.spin_s)
            producer.try_send([STOP], [0])
            if peer.wait(SILENCE_S) != 0:
                sys.exit(f"{case.name}: the far end ended with {peer.returncode}")
        finally:
            if peer.poll() is None:
                peer.kill()
                peer.wait()
    return samples, refused, kills


def _request(draw: random.Random) -> Request:
    size = draw.randint(1, BATCH)
    ids = [draw.getrandbits(64) or 1 for _ in range(size)]
    return Request(ids, [number & 0xFFFFF for number in ids])


def _payload(positions: list[int]) -> bytes:
    return b"".join((position * 2654435761).to_bytes(BYTES, "little") for position in positions)


def _start(run_id: str, seed: int, spin_s: float) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "bench.soak_ring", "--peer", run_id, str(seed), str(spin_s)]
    return subprocess.Popen(words, env=base_environment())


def _answer(run_id: str, seed: str, spin_s: str) -> None:
    draw = random.Random(int(seed))
    parent = os.getppid()
    with Rings.attach(run_id, wait_strategy=WaitStrategy(float(spin_s))) as rings:
        consumer, producer = rings.request_consumer(0), rings.response_producer(0)
        while os.getppid() == parent:
            request = consumer.receive(0.25)
            if request is None:
                continue
            if request.ids[0] == STOP:
                return
            if draw.random() < 0.001:
                time.sleep(draw.random() * 1e-3)
            payload = _payload(request.positions)
            producer.send(request.ids, payload, BYTES, sum(request.positions))


if __name__ == "__main__":
    main()
