"""Compile a program for this machine: weights in the layouts that the kernels here want.

The result is an artifact that instances map read-only, so that the packed weights of all of them
are the same physical pages. What a measurement has to decide (how batches are cut, and which sizes
are run as they are) is measured here once, and kept in it::

    facts      machine     library, instruction set, processor, batch size, threads (`pack`)
               stages      [operations, samples of a chunk] each (`stages`)
               batches     for 1 to B samples: the sizes that run (`batches`)
               layouts     operation -> the chunk sizes that first want another layout (`layouts`)
               tiled       operation -> the chunk sizes that a kernel of our own computes (`tiles`)
               references  operation -> chunk sizes for which oneDNN has its reference alone
               cut         the way to cut that was fastest; cuts_ms: what each way took
               widened     operation -> how many groups were put together (`groups`)
               own_ms      for 1 to B samples: time when run as they are, ms
               batch_ms    ... and when run as `batches` says
    arrays     <operation>.scales, .bias, .packed.<layout>, .tiles, .factors
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.processors import cache_bytes
from models import artifact
from models.program import Convolution, Linear, Program
from netrun.engines.amx.routine import aligned
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn import tiles
from netrun.engines.onednn.batches import Plan, as_they_are, filled, measured_sizes, plan, planned
from netrun.engines.onednn.executor import Executor
from netrun.engines.onednn.groups import factors_of, widened
from netrun.engines.onednn.layouts import Layouts, Weighted, pack, packed_name
from netrun.engines.onednn.measure import (
    BETTER,
    Progress,
    Run,
    batch_times,
    confirmed,
    fastest,
    in_turns,
    made_samples,
    operation_times,
    steps,
    unheard,
)
from netrun.engines.onednn.pack import KIND, machine_facts
from netrun.engines.onednn.primitives import Arrays, Kernel, folded_constants, make_kernel
from netrun.engines.onednn.stages import Stage, describe, sizes, ways_to_cut

Sizes = Mapping[str, list[int]]
"""Operation -> the chunk sizes at which a kernel of our own computes it."""
EVERY: Sizes = {"every": []}
"""Wherever there is one."""


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
    wide = widened(program, lambda alone: _sample_s(alone, threads), BETTER)
    factors = factors_of(program, wide)
    program = wide
    packing = _Packing(program, path, facts, batch_size, threads)
    samples = made_samples(program.tensors[program.input].shape, batch_size)
    ways = ways_to_cut(program, batch_size, cache_bytes(threads))
    first = steps(len(ways))
    total = first + steps(len(measured_sizes(batch_size)))
    best, cut_s = fastest(
        {name: packing.run(stages, filled(batch_size), EVERY) for name, stages in ways.items()},
        samples,
        batch_size,
        threads,
        lambda done, _: progress(done, total),
    )
    tiled = packing.faster_tiles(ways[best], samples)
    own = packing.run(ways[best], as_they_are(batch_size), tiled)
    times = batch_times(
        own, samples, batch_size, threads, lambda done, _: progress(first + done, total)
    )
    batches = plan(times)
    batches = confirmed(own, packing.run(ways[best], batches, tiled), batches, samples, threads)
    compiled = packing.artifact(ways[best], batches, tiled)
    measured = {
        "widened": factors,
        "cut": best,
        "cuts_ms": {name: _ms(seconds) for name, seconds in cut_s.items()},
        "own_ms": [_ms(seconds) for seconds in times],
        "batch_ms": [_ms(seconds) for seconds in planned(times, batches)],
    }
    artifact.write(path, KIND, {**compiled.facts, **measured}, compiled.arrays)


def packed(
    program: Program,
    stages: list[Stage],
    batches: Plan,
    threads: int,
    tiled: Sizes | None = None,
) -> artifact.Artifact:
    """`program` compiled in memory, unmeasured: cut and run as `stages` and `batches` say.

    `tiled` says where kernels of our own are used; None: nowhere.
    """
    packing = _Packing(program, Path("(in memory)"), {}, len(batches), threads)
    return packing.artifact(stages, batches, tiled)


def _sample_s(alone: Program, threads: int) -> float:
    """The least time of one sample in a program of one operation."""
    stage = Stage(alone.operations, alone.input, alone.output, 1)
    run = _Packing(alone, Path("(in memory)"), {}, 1, threads).run([stage], [[1]], None)
    samples = made_samples(alone.tensors[alone.input].shape, 1)
    return in_turns({"alone": lambda: run(samples, [0])}, 0.0, threads)["alone"]


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

    def run(self, stages: list[Stage], batches: Plan, tiled: Sizes | None) -> Run:
        """An executor's `run`, for measuring."""
        return self._executor(stages, batches, tiled).run

    def _executor(self, stages: list[Stage], batches: Plan, tiled: Sizes | None) -> Executor:
        compiled = self.artifact(stages, batches, tiled)
        return Executor(compiled, self._batch_size, self._threads)

    def faster_tiles(self, stages: list[Stage], samples: NDArray[np.uint8]) -> Sizes:
        """Where kernels of our own are faster than oneDNN's, by operation and chunk size."""
        most = self._batch_size
        possible = self._possible(stages, range(1, most + 1))
        if not possible:
            return {}
        tried = sorted({most, *(1 << power for power in range(most.bit_length()))})
        profiles = {
            name: self._executor(stages, as_they_are(most), tiled).profile
            for name, tiled in (("plain", None), ("tiled", possible))
        }
        times = operation_times(profiles, samples, tried)
        place = {o.name: at for at, o in enumerate(self._program.operations)}
        plain: dict[str, dict[int, float]] = {}
        own: dict[str, dict[int, float]] = {}
        for stage in stages:
            for name, tiled in tiles.in_stage(self._program, stage).items():
                parts = [place[o.name] for o in (tiled.operation, tiled.behind) if o is not None]
                for times_of, way in ((plain, "plain"), (own, "tiled")):
                    times_of[name] = {
                        n: float(times[way][n][parts].sum()) for n in tried if n <= stage.chunk
                    }
        return tiles.faster(plain, own, possible, BETTER)

    def _possible(self, stages: list[Stage], run: Iterable[int]) -> Sizes:
        run = list(run)
        return {
            name: sizes(stage, run)
            for stage in stages
            for name, tiled in tiles.in_stage(self._program, stage).items()
            if tiled.usable(self._lib, self._program)
        }

    def artifact(
        self, stages: list[Stage], batches: Plan, tiled: Sizes | None = None
    ) -> artifact.Artifact:
        """The artifact as it will be read: constants, and the weights in every layout used."""
        lib, program = self._lib, self._program
        run = {size for parts in batches for size in parts}
        arrays: dict[str, NDArray[Any]] = {}
        if tiled is EVERY:
            tiled = self._possible(stages, run)
        tiled = tiled or {}
        used = Layouts(lib)
        layouts: dict[str, list[int]] = {}
        references: dict[str, list[int]] = {}
        for stage in stages:
            own = tiles.in_stage(program, stage)
            within = {t.behind.name: name for name, t in own.items() if t.behind is not None}
            for operation in stage.operations:
                if isinstance(operation, (Convolution, Linear)):
                    arrays.update(_on_lines(folded_constants(program, operation)))
                if operation.name in tiled:
                    arrays.update(self._tiles(own[operation.name]))
                by_us = tiled.get(within.get(operation.name, operation.name), ())
                for size in sizes(stage, run):
                    if size in by_us:
                        continue
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
            "tiled": tiled,
        }
        return artifact.Artifact(self._path, KIND, header, arrays)

    def _tiles(self, tiled: tiles.Tiled) -> Arrays:
        """What a kernel of our own reads, packed if it has not been yet."""
        if tiled.names[0] not in self._packed:
            self._packed.update(_on_lines(tiled.arrays(self._program)))
        return {name: self._packed[name] for name in tiled.names}

    def _pack(self, operation: Weighted, kernel: Kernel) -> NDArray[np.uint8]:
        """The weights in the kernel's layout, packed if they have not been yet."""
        assert kernel.weights is not None
        number = self._layouts.find(operation, kernel.weights)
        if number is None:
            number = self._layouts.add(operation, kernel.weights)
            made = pack(self._lib, self._program, operation, kernel.weights)
            self._packed.update(_on_lines({packed_name(operation, number): made}))
        return self._packed[packed_name(operation, number)]


def _on_lines(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Copies that start on a cache line, as they will in the file: kernels are slower elsewhere."""
    copies = {}
    for name, array in arrays.items():
        copies[name] = aligned(array.nbytes).view(array.dtype).reshape(array.shape)
        copies[name][...] = array
    return copies
