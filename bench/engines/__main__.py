"""``python -m bench.engines --data DIR``: engines side by side, in alternating rounds.

With several batch sizes (``--batches 1..16``) each engine's time of a sample is also printed
as a curve over them, and drawn by ``--picture FILE.svg``.

All contestants of a row are loaded, each in a process pinned to the same cores; then they take
turns for a few seconds each, several rounds, so that a machine that changes its speed changes it
for all. The figure is the median of the rounds; ratios are medians of the rounds' ratios.

`--data` holds ``weights/``, ``imagenet_val650/`` and ``calibration200/``. An engine takes part
where it is installed (``pip install -e '.[openvino,onnxruntime]'``).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from bench.data import CALIBRATION, VALIDATION, WEIGHTS, images
from bench.engines.contestants import Contestant, Setting, contestants
from bench.engines.curves import curves, draw
from bench.host import host
from launch.supervise.environment import instance_environment
from models.imagenet.classifier import classifier
from netrun.engines import PRECISIONS

BASELINE = "onednn int8"


class Running:
    """A contestant's process."""

    def __init__(self, contestant: Contestant, setting: Setting, cores: list[int]) -> None:
        self.name = str(contestant)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        what = [contestant.engine, contestant.precision, json.dumps(asdict(setting))]
        command = [sys.executable, "-m", "bench.engines.worker", *what]
        # Built by another process, as for a run: no library of the building is in this one.
        built = subprocess.run(
            [*command, "build"], stdout=subprocess.PIPE, stderr=self._log, check=False
        )
        artifact = self._parsed(built.stdout)
        self._process = subprocess.Popen(
            [*command, "run", artifact],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=instance_environment(cores),
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self._answer()

    def run(self, seconds: float) -> dict[str, float]:
        """Rate and latencies over `seconds`."""
        _pipe(self._process.stdin).write(f"{seconds}\n".encode())
        _pipe(self._process.stdin).flush()
        answer: dict[str, float] = self._answer()
        return answer

    def end(self) -> None:
        """Let the process go."""
        _pipe(self._process.stdin).close()
        self._process.wait()

    def _answer(self) -> Any:
        return self._parsed(_pipe(self._process.stdout).readline())

    def _parsed(self, line: bytes) -> Any:
        if not line:
            self._log.seek(0)
            sys.exit(f"{self.name} failed:\n{self._log.read().decode()[-2000:]}")
        return json.loads(line)


def main() -> None:
    """Run the comparison, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of weights and images")
    parser.add_argument("--models", nargs="+", default=["resnet50", "mobilenet"])
    parser.add_argument(
        "--batches",
        nargs="+",
        type=batch_sizes,
        default=[[1], [8], [16]],
        help="batch sizes, and ranges of them such as 1..16 (default: 1 8 16)",
    )
    parser.add_argument("--cores", nargs="+", type=int, default=[0], help="processors to run on")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="a turn's length")
    parser.add_argument("--only", nargs="+", help="contestants whose name contains one of these")
    parser.add_argument(
        "--precisions", nargs="+", choices=PRECISIONS, default=["int8"], help="(default: int8)"
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--picture", type=Path, help="where to draw the curves, an .svg file")
    options = parser.parse_args()
    sizes = sorted({size for group in options.batches for size in group})
    chosen = [
        contestant
        for contestant in contestants(options.precisions)
        if options.only is None or any(part in str(contestant) for part in options.only)
    ]
    names = [str(contestant) for contestant in chosen]
    cache = Path(os.environ.get("LOADRUN_CACHE", Path.home() / ".cache" / "loadrun")) / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    rows = []
    for model in options.models:
        shared = _shared(model, options.data, cache)
        for batch in sizes:
            setting = Setting(**shared, batch=batch, threads=len(options.cores))
            running = [Running(contestant, setting, options.cores) for contestant in chosen]
            rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
            for _ in range(options.rounds):
                for contestant in running:
                    rounds[contestant.name].append(contestant.run(options.seconds))
            for contestant in running:
                contestant.end()
            rows += _rows(model, batch, rounds)
            for row in rows[-len(names) :]:
                print(_line(row), flush=True)
        if len(sizes) > 1:
            print("\n".join(curves(model, rows)), flush=True)
    if options.json is not None:
        facts = {"command": sys.argv, "cores": options.cores, **host(), "rows": rows}
        options.json.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    if options.picture is not None:
        picture = draw(rows, host()["processor"], len(options.cores))
        options.picture.write_text(picture, encoding="utf-8")


def batch_sizes(text: str) -> list[int]:
    """The sizes of ``8``, or of a range such as ``1..16``."""
    first, dots, last = text.partition("..")
    try:
        sizes = [*range(int(first), int(last if dots else first) + 1)]
    except ValueError:
        sizes = []
    if not sizes or sizes[0] < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no batch size, and no range such as 1..16")
    return sizes


def _shared(model: str, data: Path, cache: Path) -> dict[str, str]:
    chosen = classifier(model)
    for name, folder, most in (
        ("samples", VALIDATION, 256),
        ("calibration", CALIBRATION, 200),
    ):
        path = cache / f"{model}-{name}.npy"
        if not path.exists():
            files = images(data, folder)[:most]
            np.save(path, np.stack([chosen.preprocess(file) for file in files]))
    return {
        "model": model,
        "weights": str(data / "weights" / WEIGHTS[model]),
        "samples": str(cache / f"{model}-samples.npy"),
        "calibration": str(cache / f"{model}-calibration.npy"),
        "cache": str(cache),
    }


def _rows(
    model: str, batch: int, rounds: dict[str, list[dict[str, float]]]
) -> list[dict[str, Any]]:
    rows = []
    baseline = rounds.get(BASELINE)
    for name, results in rounds.items():
        rates = [result["rate"] for result in results]
        row: dict[str, Any] = {
            "model": model,
            "batch": batch,
            "engine": name,
            "rate": statistics.median(rates),
            "rate_min": min(rates),
            "rate_max": max(rates),
            "p50_ms": statistics.median(result["p50_ms"] for result in results),
            "p90_ms": statistics.median(result["p90_ms"] for result in results),
            "cpu_ms": statistics.median(result["cpu_ms"] for result in results),
        }
        if baseline is not None:
            pairs = list(zip(baseline, results, strict=True))
            row["baseline_over_this"] = statistics.median(a["rate"] / b["rate"] for a, b in pairs)
            row["p90_over_this"] = statistics.median(a["p90_ms"] / b["p90_ms"] for a, b in pairs)
            row["cpu_over_this"] = statistics.median(a["cpu_ms"] / b["cpu_ms"] for a, b in pairs)
        rows.append(row)
    return rows


def _line(row: dict[str, Any]) -> str:
    ours = ""
    if "baseline_over_this" in row:
        ours = (
            f"  ours/this: rate {row['baseline_over_this']:.3f} p90 {row['p90_over_this']:.3f}"
            f" cpu {row['cpu_over_this']:.3f}"
        )
    return (
        f"{row['model']:<10} batch {row['batch']:>2}  {row['engine']:<16}"
        f" {row['rate']:8.1f} /s ({row['rate_min']:.1f} .. {row['rate_max']:.1f})"
        f"  p50 {row['p50_ms']:7.2f}  p90 {row['p90_ms']:7.2f}  cpu {row['cpu_ms']:7.2f} ms{ours}"
    )


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


if __name__ == "__main__":
    main()
