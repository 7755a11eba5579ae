"""Weights in several layouts: a double of oneDNN wants another one for small batches.

With AMX oneDNN does so itself; the double makes it so on every processor, and has nothing but a
reference kernel for a layout that is forced from another size, as oneDNN then has.
"""

from __future__ import annotations

from ctypes import c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from netrun_programs import expected, residual_program

from models import artifact
from models.artifact import ArtifactError
from models.program import Convolution, Linear, Operation, Program
from netrun.engines.onednn import compiler, executor, primitives
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.batches import as_they_are
from netrun.engines.onednn.executor import Executor
from netrun.engines.onednn.pack import KIND
from netrun.engines.onednn.primitives import Kernel
from netrun.engines.onednn.stages import cut

BATCH = 5
FEW = 2
"""Up to so many samples the double wants plain weights."""
real_kernel = primitives.make_kernel


class PlainWeights:
    """The library, but what it may choose freely is laid out as the program stores it."""

    def __init__(self, lib: dnn.Library) -> None:
        self._lib = lib

    def any_descriptor(self, shape: tuple[int, ...], dtype: str) -> c_void_p:
        strides = tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))
        return self._lib.descriptor(shape, dtype, strides)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lib, name)


def make_kernel(lib: Any, program: Program, operation: Operation, batch: int) -> Kernel:
    """The kernel of the double, for three by three convolutions."""
    few = batch <= FEW and isinstance(operation, Convolution) and operation.name in ("a", "stem")
    return real_kernel(PlainWeights(lib) if few else lib, program, operation, batch)  # type: ignore[arg-type]


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "make_kernel", make_kernel)
    monkeypatch.setattr(executor, "make_kernel", make_kernel)


@pytest.fixture
def arena() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (16, 21, 21, 3), dtype=np.uint8)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("cache", [1, 9_000, 1 << 30])
def test_each_size_has_the_layout_that_it_wants(arena: np.ndarray, cache: int) -> None:
    program = residual_program()
    stages = cut(program, BATCH, cache)
    compiled = compiler.packed(program, stages, as_they_are(BATCH), 1)
    two = {"stem", "a"} if all(stage.chunk > FEW for stage in stages) else set()
    weighted = {o.name for o in program.operations if isinstance(o, (Convolution, Linear))}
    assert set(compiled.facts["layouts"]) == weighted
    for name in weighted:
        assert f"{name}.packed.0" in compiled.arrays
        assert (f"{name}.packed.1" in compiled.arrays) >= (name in two)
    run = Executor(compiled, BATCH, 1)
    run.prepare()
    positions = [3, 1, 8, 9, 15]
    exact = expected(program, arena[positions])
    for size in range(1, BATCH + 1):
        np.testing.assert_allclose(
            run.run(arena, positions[:size]), exact[:size], atol=0.05 * np.ptp(exact), rtol=0
        )


@pytest.mark.usefixtures("double")
def test_layouts_are_written_and_found_again(tmp_path: Path, arena: np.ndarray) -> None:
    path = tmp_path / "artifact"
    compiler.compile_program(residual_program(), path, BATCH, 1, {})
    run = Executor(artifact.read(path, KIND), BATCH, 1)
    run.prepare()
    alone = run.run(arena, [4]).copy()
    for size in range(1, BATCH + 1):
        np.testing.assert_array_equal(run.run(arena, [4] * size), np.repeat(alone, size, 0))


def test_an_artifact_without_the_layout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = residual_program()
    compiled = compiler.packed(program, cut(program, BATCH, 1 << 30), as_they_are(BATCH), 1)
    monkeypatch.setattr(executor, "make_kernel", make_kernel)
    with pytest.raises(ArtifactError, match="wants a layout that is not there"):
        Executor(compiled, BATCH, 1).prepare()


def test_references_that_are_the_only_kernels_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Kernel, "is_reference", lambda kernel, lib: kernel.operation.name in ("pool", "b")
    )
    program = residual_program()
    compiled = compiler.packed(program, cut(program, 2, 1 << 30), as_they_are(2), 1)
    assert compiled.facts["references"] == {"pool": [1, 2], "b": [1, 2]}
