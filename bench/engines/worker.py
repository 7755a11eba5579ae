"""One contestant in its own process: loads, then runs for as long as asked, again and again.

``python -m bench.engines.worker ENGINE PRECISION SETTING build`` builds what it executes and prints
the path, ``... SETTING run PATH`` runs it. Protocol of `run` on stdin / stdout, a JSON value a
line: the parent sends seconds, the worker answers with
``{"rate": samples/s, "p50_ms": ..., "p90_ms": ..., "cpu_ms": ...}`` of the batches inferred in that
time; cpu_ms is the processor time of a sample, all threads together.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

SETTLE_S = 0.1
"""The threads of who had the turn before spin on for some milliseconds, and caches are theirs."""


def main() -> None:
    """Build or run a contestant."""
    from bench.engines.contestants import Contestant, Setting, artifact_of, infer

    engine, precision, text, what, *path = sys.argv[1:]
    contestant, setting = Contestant(engine, precision), Setting(**json.loads(text))
    answers = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is not an answer
    if what == "build":
        print(json.dumps(str(artifact_of(contestant, setting))), file=answers)
        return
    run = infer(contestant, setting, Path(path[0]))
    for i in range(3):
        run(i)
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        seconds = float(json.loads(line))
        times: list[float] = []
        until = time.perf_counter() + SETTLE_S
        while time.perf_counter() < until:
            run(0)
        spent = time.process_time()
        start = now = time.perf_counter()
        while now - start < seconds:
            run(len(times))
            before, now = now, time.perf_counter()
            times.append(now - before)
        spent = time.process_time() - spent
        ordered = sorted(times)
        answer = {
            "rate": len(times) * setting.batch / (now - start),
            "p50_ms": 1e3 * ordered[len(ordered) // 2],
            "p90_ms": 1e3 * ordered[len(ordered) * 9 // 10],
            "cpu_ms": 1e3 * spent / (len(times) * setting.batch),
        }
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
