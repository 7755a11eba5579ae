"""``python -m bench.memory --data DIR``: memory and start of 1 and of N instances in real runs.

Each round is a whole ``loadrun run`` with a warm cache. While its test goes on, the USS of every
netrun process is read from outside; the largest reading counts. It is what an instance has for
itself: the packed weights are in the USS of a lone instance, and in nobody's where several map
them, so that the USS of one of several is what a further instance takes. The phases of the start,
in seconds since the kernel started the process, are what each instance reports in run.json.
Numbers of instances take turns, round by round.

`--data` holds ``weights/``, ``imagenet_val650/`` and ``calibration200/``; without it, the embedded
synthetic model is used.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from bench.data import CALIBRATION, VALIDATION, WEIGHTS
from bench.host import host

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_S = 0.3
PHASES = ("imported", "prepared", "loaded", "warmup", "ready")
"""Modules are imported; the engine can compute; the instance is attached to the run's shared memory
(LOADED); so are all others, and the warm-up begins; it has ended (READY)."""


def main() -> None:
    """Run the rounds, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of weights and images")
    parser.add_argument("--models", nargs="+", default=["resnet50", "mobilenet"])
    parser.add_argument("--instances", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--cores-each", type=int, default=1, help="cores of an instance")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a test")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for model in options.models:
        measured: dict[int, list[dict[str, Any]]] = {count: [] for count in options.instances}
        _run(options, model, 1)  # fills the cache
        for _ in range(options.rounds):
            for count in options.instances:
                measured[count].append(_run(options, model, count))
        rows += [_row(model, count, rounds) for count, rounds in measured.items()]
        _print(rows[-len(measured) :])
    if options.json is not None:
        facts = {"command": sys.argv, **host(), "rows": rows}
        options.json.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _run(options: argparse.Namespace, model: str, instances: int) -> dict[str, Any]:
    """One run: for each instance its largest `uss` (bytes) and its `phases_s`."""
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory)
        words = [
            *(sys.executable, "-m", "launch.cli", "run", model, "--results", directory),
            *("--fast", "--time", str(options.seconds), "--batch-size", str(options.batch_size)),
            *("--instances", str(instances), "--cores", str(instances * options.cores_each)),
            *("--oversubscribe", *_data(options.data, model)),
        ]
        with (results / "log").open("w+") as log:
            process = subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=log)
            uss = _watch(process, results, instances)
            log.seek(0)
            output = log.read()
        if process.returncode not in (0, 3) or len(uss) < instances:
            sys.exit(f"a run failed ({process.returncode}):\n{output}")
        record = json.loads((results / "offline" / model / "run.json").read_text(encoding="utf-8"))
    if "calibrating" in output and instances > 1:
        sys.exit(f"the cache was not warm:\n{output}")
    return {
        "uss": list(uss.values()),
        "phases_s": [engine["phases_s"] for engine in record["engines"].values()],
        "rate": record["standalone_rate"],
    }


def _data(data: Path | None, model: str) -> list[str]:
    if data is None:
        return []
    return [
        *("--weights", str(data / "weights" / WEIGHTS[model])),
        *("--images", str(data / VALIDATION)),
        *("--calibration", str(data / CALIBRATION)),
    ]


def _watch(process: subprocess.Popen[bytes], results: Path, instances: int) -> dict[int, int]:
    """Until `process` ends: the largest USS in bytes of each netrun process, by pid."""
    largest: dict[int, int] = {}
    while process.poll() is None:
        # The reports are there once the instances are ready.
        reports = results.glob("*/*/.staging-*/netrun_*.json")
        if len([path for path in reports if ".config." not in path.name]) == instances:
            for child in _instances(process.pid):
                with contextlib.suppress(psutil.Error):
                    uss = child.memory_full_info().uss
                    largest[child.pid] = max(uss, largest.get(child.pid, 0))
        time.sleep(SAMPLE_S)
    return largest


def _instances(launch: int) -> list[psutil.Process]:
    found = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(launch).children():
            with contextlib.suppress(psutil.Error):
                if child.cmdline()[1:3] == ["-m", "netrun"]:
                    found.append(child)
    return found


def _row(model: str, instances: int, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "model": model,
        "instances": instances,
        "uss_mb": _spread(uss / 1e6 for r in rounds for uss in r["uss"]),
        "rounds": rounds,
    }
    for phase in PHASES:
        row[f"{phase}_s"] = _spread(p[phase] for r in rounds for p in r["phases_s"])
    return row


def _spread(values: Iterable[float]) -> dict[str, float]:
    known = list(values)
    return {
        "min": round(min(known), 3),
        "median": round(statistics.median(known), 3),
        "max": round(max(known), 3),
    }


def _print(rows: list[dict[str, Any]]) -> None:
    """min / median / max over rounds and instances."""
    for row in rows:
        print(f"{row['model']}, {row['instances']} instance{'s' * (row['instances'] > 1)}")
        print(f"  USS of an instance   {_text(row['uss_mb'], '.1f')} MB")
        for phase in PHASES:
            print(f"  {phase:<20} {_text(row[f'{phase}_s'], '.2f')} s after its start")
    sys.stdout.flush()


def _text(spread: dict[str, float], form: str) -> str:
    return " / ".join(f"{spread[key]:{form}}" for key in ("min", "median", "max"))


if __name__ == "__main__":
    main()
