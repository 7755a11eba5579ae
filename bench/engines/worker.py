"""One contestant in its own process: loads, then runs for as long as it is told, again and again.

Protocol on stdin / stdout, a JSON value a line: the parent sends seconds, the worker answers with
``{"rate": samples/s, "p50_ms": ..., "p90_ms": ..., "cpu_ms": ...}`` of the batches inferred in that
time; cpu_ms is the processor time of a sample, all threads together.
"""

from __future__ import annotations

import json
import sys
import time

SETTLE_S = 0.1
"""The threads of who had the turn before spin on for some milliseconds, and caches are theirs."""


def main() -> None:
    """``python -m bench.engines.worker NAME MODEL OPTIONS``."""
    from bench.engines.contestants import make

    name, model, text = sys.argv[1:]
    options = json.loads(text)
    answers = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is not an answer
    infer = make(name, model, options)
    for i in range(3):
        infer(i)
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        seconds = float(json.loads(line))
        times: list[float] = []
        until = time.perf_counter() + SETTLE_S
        while time.perf_counter() < until:
            infer(0)
        spent = time.process_time()
        start = now = time.perf_counter()
        while now - start < seconds:
            infer(len(times))
            before, now = now, time.perf_counter()
            times.append(now - before)
        spent = time.process_time() - spent
        ordered = sorted(times)
        answer = {
            "rate": len(times) * options["batch"] / (now - start),
            "p50_ms": 1e3 * ordered[len(ordered) // 2],
            "p90_ms": 1e3 * ordered[len(ordered) * 9 // 10],
            "cpu_ms": 1e3 * spent / (len(times) * options["batch"]),
        }
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
