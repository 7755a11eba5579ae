"""``python kernels_of_isa.py FOLDER [own]``: programs under the instruction set of the environment.

For each ``*.program`` in FOLDER: the names of operations for which some chunk of a batch of 1 to
16 has a reference kernel; the sizes of batches whose answers are not those of ``*.answers.npy`` to
the bit, and how far they are from them in parts of their spread; the same between oneDNN's kernels
and our own, where there are some. With ``own`` the answers are written instead. The result is JSON
on standard output.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from base.processors import cache_bytes
from models import program
from netrun.engines.onednn import compiler, library, tiles
from netrun.engines.onednn.batches import as_they_are
from netrun.engines.onednn.executor import Executor
from netrun.engines.onednn.primitives import make_kernel
from netrun.engines.onednn.stages import cut, sizes

MOST = 16
RUN = (1, 3, 7, 16)
"""Sizes that run: kernels are looked at for all, and a slow instruction set takes its time."""


def main(folder: Path, own: bool) -> None:
    """Look at every program of `folder`."""
    lib = library.load()
    found = {}
    for path in sorted(folder.glob("*.program")):
        loaded, _ = program.load(path)
        stages = cut(loaded, MOST, cache_bytes(1))
        references = sorted(
            operation.name
            for stage in stages
            for operation in stage.operations
            for size in sizes(stage, range(1, MOST + 1))
            if make_kernel(lib, loaded, operation, size).is_reference(lib)
        )
        executor, tiled = (
            Executor(compiler.packed(loaded, stages, as_they_are(MOST), 1, own), MOST, 1)
            for own in (None, compiler.EVERY)
        )
        samples = np.load(path.with_suffix(".samples.npy"))
        answers = path.with_suffix(".answers.npy")
        if own:
            np.save(answers, executor.run(samples, range(MOST)))
        exact = np.load(answers)
        answered = {n: executor.run(samples, range(n)).copy() for n in RUN}
        ours = sorted({k.implementation for k in tiled.kernels()} & {tiles.IMPLEMENTATION})
        found[path.stem] = {
            "references": references,
            "differing": [n for n in RUN if (answered[n] != exact[:n]).any()],
            "tiled": ours,
            # Without kernels of our own both are one and the same.
            "tiled differing": [
                n for n in RUN if ours and (tiled.run(samples, range(n)) != answered[n]).any()
            ],
            "distance": max(float(np.abs(answered[n] - exact[:n]).mean()) for n in RUN)
            / float(exact.std(0).mean()),
        }
    print(json.dumps({"isa": library.ISA_NAMES[lib.isa], "programs": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["own"])
