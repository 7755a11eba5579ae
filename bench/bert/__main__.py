"""``python -m bench.bert --folder DIR``: BERT-large by turns, SQuAD's lengths, the same cores.

All contestants have the seeded network of the embedded default and are calibrated on the same
sequences. Each takes the samples, sorted by length, in batches of every size of `--batches`: padded
to the longest of the batch, or as a stream of tokens. Its figure is that of its best batch size,
over the least time of each batch in all rounds. Peers take part where they are installed
(``pip install -e .[peers]``); what they build is kept in `--folder`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

from bench.bert.worker import CONTESTANTS, spread
from bench.host import host
from models.squad.sizes import LARGE

NEEDS = {"OpenVINO": ("openvino", "nncf"), "ONNX": ("onnxruntime", "onnx")}
Times = dict[tuple[int, int], tuple[float, float]]


class Contestant:
    """A contestant's process, and the least time of each of its batches."""

    def __init__(self, name: str, folder: Path, cores: list[int]) -> None:
        self.name = name
        self.times: Times = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.bert.worker", name, str(folder), str(len(cores))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        while (line := self._out.readline()) != "ready\n":
            if not line:
                sys.exit(f"{name} failed")

    @property
    def _out(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def run(self, size: int, start: int, lengths: list[int]) -> None:
        """Take a batch."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(lengths) + "\n")
        self._process.stdin.flush()
        wall, busy = map(float, self._out.readline().split())
        before = self.times.get((size, start), (wall, busy))
        self.times[size, start] = min(before[0], wall), min(before[1], busy)

    def rates(self, samples: int) -> dict[int, tuple[float, float]]:
        """Samples a second by batch size: of time, and of processor time of one core."""
        return {
            size: (samples / sum(w for (s, _), (w, _) in self.times.items() if s == size),
                   samples / sum(b for (s, _), (_, b) in self.times.items() if s == size))
            for size in sorted({size for size, _ in self.times})
        }  # fmt: skip


def main() -> None:
    """Run the comparison and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", default="0", help="processors, such as 0,1")
    parser.add_argument("--batches", default="1,4,8")
    parser.add_argument("--only", default="loadrun int8,OpenVINO int8,ONNX Runtime int8")
    options = parser.parse_args()
    cores = [int(core) for core in options.cores.split(",")]
    sizes = [int(size) for size in options.batches.split(",")]
    lengths = sorted(spread(options.samples), reverse=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    names = [
        name
        for name in options.only.split(",")
        if name in CONTESTANTS and all(
            importlib.util.find_spec(package) for package in NEEDS.get(name.split(" ")[0], ())
        )
    ]  # fmt: skip
    contestants = [Contestant(name, options.folder, cores) for name in names]
    for _ in range(options.rounds):
        for size in sizes:
            for start in range(0, len(lengths), size):
                for contestant in contestants:
                    contestant.run(size, start, lengths[start : start + size])
    macs = sum(map(LARGE.macs, lengths)) / len(lengths) / 1e9
    print(f"{host()['processor']}; {len(cores)} cores")
    print(f"{len(lengths)} samples, {macs:.1f} GMAC each on average")
    print("samples/s (of processor time) by batch size")
    for contestant in contestants:
        rates = contestant.rates(len(lengths))
        told = "  ".join(f"{size}: {wall:.2f} ({busy:.2f})" for size, (wall, busy) in rates.items())
        best = max(wall for wall, _ in rates.values())
        print(f"{contestant.name:18} {told}  best {best:.2f}, {best * macs:.0f} GMAC/s")


if __name__ == "__main__":
    main()
