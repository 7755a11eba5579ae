"""Compile a program for this machine: weights in the layouts that the kernels here want.

The result is an artifact that instances map read-only, so that the packed weights of all of them
are the same physical pages. What a measurement has to decide (how batches are cut, and which sizes
are run as they are) is measured here once, and kept in it::

    facts      machine     library, instruction set, processor, batch size, threads (`pack`)
               stages      [operations, samples of a chunk] each (`stages`)
               batches     for 1 to B samples: the sizes that run (`batches`)
               layouts     operation -> the chunk sizes that first want another layout (`layouts`)
               references  operation -> chunk sizes for which oneDNN has its reference alone
               cut         the way to cut that was fastest; cuts_ms: what each way took
               own_ms      for 1 to B samples: time when run as they are, ms
               batch_ms    ... and when run as `batches` says
    arrays     <operation>.scales, .bias, .packed.<layout>
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.processors import cache_bytes
from models import artifact
from models.program import Convolution, Linear, Program
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.batches import Plan, as_they_are, filled, measured_sizes, plan, planned
from netrun.engines.onednn.executor import Executor
from netrun.engines.onednn.layouts import Layouts, Weighted, pack, packed_name
from netrun.engines.onednn.measure import (
    Progress,
    Run,
    batch_times,
    confirmed,
    fastest,
    made_samples,
    steps,
    unheard,
)
from netrun.engines.onednn.pack import KIND, machine_facts
from netrun.engines.onednn.primitives import Kernel, folded_constants, make_kernel
from netrun.engines.onednn.stages import Stage, describe, sizes, ways_to_cut


def compile_program(
    program: Program,
    path: Path,
    batch_size: int,
    threads: int,
    facts: dict[str, Any],
    progress: Progress = unheard,
) -> None:
    """Pack the weights of `program`, measure how to run it here, and write the artifact to `path`.

    The batch is cut as takes the least time, and each batch size is run on random samples
    (`measure`): a few seconds in all.
    """
    packing = _Packing(program, path, facts, batch_size, threads)
    samples = made_samples(program.tensors[program.input].shape, batch_size)
    ways = ways_to_cut(program, batch_size, cache_bytes(threads))
    first = steps(len(ways))
    total = first + steps(len(measured_sizes(batch_size)))
    best, cut_s = fastest(
        {name: packing.run(stages, filled(batch_size)) for name, stages in ways.items()},
        samples,
        batch_size,
        threads,
        lambda done, _: progress(done, total),
    )
    own = packing.run(ways[best], as_they_are(batch_size))
    times = batch_times(
        own, samples, batch_size, threads, lambda done, _: progress(first + done, total)
    )
    batches = plan(times)
    batches = confirmed(own, packing.run(ways[best], batches), batches, samples, threads)
    compiled = packing.artifact(ways[best], batches)
    measured = {
        "cut": best,
        "cuts_ms": {name: _ms(seconds) for name, seconds in cut_s.items()},
        "own_ms": [_ms(seconds) for seconds in times],
        "batch_ms": [_ms(seconds) for seconds in planned(times, batches)],
    }
    artifact.write(path, KIND, {**compiled.facts, **measured}, compiled.arrays)


def packed(program: Program, stages: list[Stage], batches: Plan, threads: int) -> artifact.Artifact:
    """`program` compiled in memory, unmeasured: cut and run as `stages` and `batches` say."""
    return _Packing(program, Path("(in memory)"), {}, len(batches), threads).artifact(
        stages, batches
    )


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 4)


class _Packing:
    """Artifacts of one program that differ in how batches are run; weights are packed once."""

    def __init__(
        self,
        program: Program,
        path: Path,
        facts: dict[str, Any],
        batch_size: int,
        threads: int,
    ) -> None:
        self._lib = lib = dnn.load()
        lib.set_threads(threads)
        self._program = program
        self._path = path
        self._facts = facts
        self._batch_size = batch_size
        self._threads = threads
        self._layouts = Layouts(lib)
        self._packed: dict[str, NDArray[Any]] = {}

    def run(self, stages: list[Stage], batches: Plan) -> Run:
        """An executor's `run`, for measuring."""
        return Executor(self.artifact(stages, batches), self._batch_size, self._threads).run

    def artifact(self, stages: list[Stage], batches: Plan) -> artifact.Artifact:
        """The artifact as it will be read: constants, and the weights in every layout used."""
        lib, program = self._lib, self._program
        run = {size for parts in batches for size in parts}
        arrays: dict[str, NDArray[Any]] = {}
        used = Layouts(lib)
        layouts: dict[str, list[int]] = {}
        references: dict[str, list[int]] = {}
        for stage in stages:
            for operation in stage.operations:
                if isinstance(operation, (Convolution, Linear)):
                    arrays.update(folded_constants(program, operation))
                for size in sizes(stage, run):
                    kernel = make_kernel(lib, program, operation, size)
                    if kernel.is_reference(lib):
                        references.setdefault(operation.name, []).append(size)
                    if isinstance(operation, (Convolution, Linear)):
                        assert kernel.weights is not None
                        if used.find(operation, kernel.weights) is None:
                            number = used.add(operation, kernel.weights)
                            arrays[packed_name(operation, number)] = self._pack(operation, kernel)
                            layouts.setdefault(operation.name, []).append(size)
        # Shapes alone are needed to build kernels again; the plain weights stay behind.
        shapes = {n: list(a.shape) for n, a in program.constants.items() if n.endswith(".weight")}
        header = {
            **self._facts,
            "machine": machine_facts(lib, self._batch_size, self._threads),
            "program": program.describe(),
            "weight_shapes": shapes,
            "stages": describe(stages),
            "batches": batches,
            "layouts": layouts,
            "references": references,
        }
        return artifact.Artifact(self._path, KIND, header, arrays)

    def _pack(self, operation: Weighted, kernel: Kernel) -> NDArray[np.uint8]:
        """The weights in the kernel's layout, packed if they have not been yet."""
        assert kernel.weights is not None
        number = self._layouts.find(operation, kernel.weights)
        if number is None:
            number = self._layouts.add(operation, kernel.weights)
            made = pack(self._lib, self._program, operation, kernel.weights)
            self._packed[packed_name(operation, number)] = made
        return self._packed[packed_name(operation, number)]
