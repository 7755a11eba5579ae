"""One contestant in a process of its own: a line in, an image's seconds out.

``python -m bench.detection.worker TASK NAME FOLDER THREADS``; FOLDER keeps what is built once. A
line of output has wall time and processor time of the network, and of decoding its outputs.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import models
from bench.detection.contestants import CONTESTANTS, PIXELS, prepared
from bench.turns import READY
from models.detection.task import DetectionTask


def main() -> None:
    """Time an image for each line, until there are no more."""
    task, name, folder, threads = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    detector = models.get(task)
    assert isinstance(detector, DetectionTask)
    samples = prepared(detector, folder)
    network = CONTESTANTS[name](detector, folder, threads, samples)
    given = [sample["image"] for sample in samples][:4]
    if name not in PIXELS:
        given = [detector.sample.normalise(image[None]) for image in given]
    network(given[0])
    print(READY, flush=True)
    for number, _ in enumerate(sys.stdin):
        wall, busy = time.perf_counter(), time.process_time()
        outputs = network(given[number % len(given)])
        took = time.perf_counter() - wall, time.process_time() - busy
        wall = time.perf_counter()
        if outputs:
            detector.detections(outputs).answer(number)
        print(*took, time.perf_counter() - wall, flush=True)


if __name__ == "__main__":
    main()
