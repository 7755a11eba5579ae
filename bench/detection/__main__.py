"""``python -m bench.detection TASK --folder DIR``: images a second by turns, on the same cores.

All contestants run batches of one image, which suits images of a megapixel best, and take turns in
rounds; a figure is that of the least time. Behind the network, loadrun's answers are decoded, which
is shown beside. Peers take part where they are installed (``pip install -e
.[openvino,onnxruntime]``); what they build, in minutes, is kept in `--folder` (``--rounds 0`` only
builds).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.detection.contestants import CONTESTANTS
from bench.host import host
from bench.turns import Worker, installed


class Contestant(Worker):
    """A contestant's process, and the least times of an image: network, its processor, decoding."""

    def __init__(self, task: str, name: str, folder: Path, cores: list[int]) -> None:
        self.least = [float("inf")] * 3
        super().__init__(name, "bench.detection.worker", [task, name, str(folder)], cores)

    def run(self) -> None:
        """Take an image."""
        self.least = list(map(min, self.least, self.ask()))


def main() -> None:
    """Run the comparison and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("task", choices=("retinanet", "ssd-resnet34", "ssd-mobilenet"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--cores", default="0", help="processors, such as 0,1")
    parser.add_argument("--only", default=",".join(CONTESTANTS))
    options = parser.parse_args()
    cores = [int(core) for core in options.cores.split(",")]
    names = installed(options.only.split(","))
    options.folder.mkdir(parents=True, exist_ok=True)
    contestants = [Contestant(options.task, name, options.folder, cores) for name in names]
    for _ in range(options.rounds):
        for contestant in contestants:
            contestant.run()
    if not options.rounds:
        return
    print(f"{host()['processor']}; {len(cores)} cores; {options.task}")
    first = contestants[0].least[0]
    for contestant in contestants:
        network, busy, decoding = contestant.least
        line = f"{contestant.name:18} {1 / network:8.3f} images/s ({1e3 * network:.1f} ms, "
        line += f"{1e3 * busy:.1f} ms of processors)  {first / network:.2f} of the first"
        if decoding > 1e-4:
            line += f"; decoding {1e3 * decoding:.1f} ms, {decoding / (network + decoding):.1%}"
        print(line)


if __name__ == "__main__":
    main()
