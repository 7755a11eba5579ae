"""``python -m bench.soak --minutes M``: runs of all scenarios under kills, stops and signals.

Two runs go side by side. Processes of each are killed, stopped or signalled at random moments; then
it is checked that every query was answered exactly once or that the run named the reason, that
it ended in time, and that nothing was left behind: no process, no shared memory, no half-written
results. The engines are `sim` and `null`: nothing here depends on the computation.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

from bench.parts.figures import show
from bench.soak.faults import INSTANCE_FAULTS, RUN_FAULTS
from bench.soak.lane import Lane, Tally
from launch.supervise.signals import ENDING
from shm.reclaim import find_runs

LANES = 2
IMAGES = 300


def main() -> int:
    """Soak, print the tables; exit code 1 where something is wrong."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--minutes", type=float, default=10.0)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    for number in ENDING:
        # Under nohup the runs would inherit that it is ignored; they are to heed signals.
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    before = {run.run_id for run in find_runs()}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="loadrun-soak-") as folder:
        images = Path(folder, "images")
        _draw_images(images)
        lanes = [
            Lane(Path(folder, f"lane{number}"), images, IMAGES, options.seed * 1000 + number)
            for number in range(LANES)
        ]
        until = began + 60 * options.minutes
        threads = [threading.Thread(target=_soak, args=(lane, until)) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tally = Tally()
        for lane in lanes:
            tally.add(lane.tally)
    strays = [run for run in find_runs() if run.run_id not in before and not run.alive]
    tally.left_over += len(strays)
    _show(tally, time.monotonic() - began, options.seed)
    return 1 if tally.wrong or strays else 0


def _soak(lane: Lane, until: float) -> None:
    while time.monotonic() < until:
        lane.once()


def _draw_images(folder: Path) -> None:
    folder.mkdir()
    generator = np.random.default_rng(1)
    for number in range(IMAGES):
        pixels = generator.integers(0, 256, (64, 80, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04}.png")


def _show(tally: Tally, took_s: float, seed: int) -> None:
    runs, faults = tally.runs.total(), tally.faults.total()
    rows = []
    for fault in (*INSTANCE_FAULTS, *RUN_FAULTS):
        worst = tally.worst_s.get(fault.name)
        ended = f"{worst:.1f} s (limit {fault.within_s:g} s)" if worst is not None else ""
        rows.append([fault.name, tally.faults[fault.name], ended])
    show(f"Faults, seed {seed}", ["", "times", "slowest end of a run after it"], rows)
    show(
        f"{runs} runs in {took_s / 60:.1f} minutes, {LANES} side by side",
        ["", "runs"],
        [*sorted(tally.runs.items()), *sorted(tally.outcomes.items())],
    )
    show(
        f"{faults} faults, {tally.answered} samples answered, {tally.redispatched} re-dispatched",
        ["", ""],
        [
            ["hangs", tally.hangs],
            ["lost", tally.lost],
            ["duplicated", tally.duplicated],
            ["left over", tally.left_over],
            ["anything else wrong", len(tally.wrong)],
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
