"""``python -m bench.bert --folder DIR``: BERT-large by turns, SQuAD's lengths, the same cores.

All contestants have the seeded network of the embedded default and are calibrated on the same
sequences. Each takes the samples, sorted by length, in batches of every size of `--batches`: padded
to the longest of the batch, or as a stream of tokens. Its figure is that of its best batch size,
over the least time of each batch in all rounds. Peers take part where they are installed
(``pip install -e .[peers]``); what they build is kept in `--folder`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench.bert.worker import CONTESTANTS, spread
from bench.host import host
from bench.turns import Worker, installed
from models.squad.sizes import LARGE

Times = dict[tuple[int, int], tuple[float, float]]


class Contestant(Worker):
    """A contestant's process, and the least time of each of its batches."""

    def __init__(self, name: str, folder: Path, cores: list[int]) -> None:
        self.times: Times = {}
        super().__init__(name, "bench.bert.worker", [name, str(folder)], cores)

    def run(self, size: int, start: int, lengths: list[int]) -> None:
        """Take a batch."""
        wall, busy = self.ask(json.dumps(lengths))
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
    names = installed([name for name in options.only.split(",") if name in CONTESTANTS])
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
        by_size = "  ".join(
            f"{size}: {wall:.2f} ({busy:.2f})" for size, (wall, busy) in rates.items()
        )
        best = max(wall for wall, _ in rates.values())
        print(f"{contestant.name:18} {by_size}  best {best:.2f}, {best * macs:.0f} GMAC/s")


if __name__ == "__main__":
    main()
