"""The oneDNN executor against arithmetic written out in numpy, and against PyTorch's operators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from netrun_programs import expected, residual_program

from models import artifact
from models.artifact import ArtifactError
from models.program import Convolution, Program, Tensor
from netrun.engines.onednn import pack
from netrun.engines.onednn.executor import Executor, plan_buffers

BATCH = 5


@pytest.fixture(scope="module")
def program() -> Program:
    return residual_program()


@pytest.fixture(scope="module")
def compiled(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "artifact"
    pack.compile_program(program, path, BATCH, threads=1, facts={"model": "residual"})
    return path


@pytest.fixture(scope="module")
def executor(compiled: Path) -> Executor:
    return Executor(artifact.read(compiled, pack.KIND), BATCH, threads=1)


@pytest.fixture(scope="module")
def arena() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (32, 21, 21, 3), dtype=np.uint8)


def one_rounding(program: Program) -> float:
    """What one different rounding of one pooled value changes in a logit, and a little more."""
    mean = program.tensors["mean"]
    weight = program.constants["head.weight"] * program.constants["head.scales"][:, None]
    return float(np.abs(weight).max() * mean.scale * 3)


@pytest.mark.parametrize("positions", [[0], [4, 5, 6], [30, 2, 9, 9], [31, 0, 7, 3, 20]])
def test_results_are_those_of_the_arithmetic(
    program: Program, executor: Executor, arena: np.ndarray, positions: list[int]
) -> None:
    result = executor.run(arena, positions)
    assert result.shape == (len(positions), 10)
    exact = expected(program, arena[positions])
    np.testing.assert_allclose(result, exact, atol=one_rounding(program), rtol=0)
    assert np.ptp(exact) > 20 * one_rounding(program)  # the tolerance is far below the signal


def test_a_sample_answers_alike_in_every_batch(executor: Executor, arena: np.ndarray) -> None:
    alone = executor.run(arena, [11]).copy()
    for size in range(1, BATCH + 1):
        for place in range(size):
            positions = [3] * size
            positions[place] = 11
            np.testing.assert_array_equal(executor.run(arena, positions)[place], alone[0])


def test_pytorch_executes_the_same_program(
    program: Program, executor: Executor, arena: np.ndarray, tmp_path: Path
) -> None:
    import torch

    from models.program import KIND
    from netrun.engines.pytorch import quantised_forward

    program.save(tmp_path / "program", {})
    forward = quantised_forward(artifact.read(tmp_path / "program", KIND))
    positions = [1, 2, 3, 4]
    with torch.inference_mode():
        theirs = forward(arena[positions]).numpy()
    ours = executor.run(arena, positions)
    np.testing.assert_allclose(ours, theirs, atol=one_rounding(program), rtol=0)


def test_the_artifact_is_mapped_not_copied(executor: Executor, compiled: Path) -> None:
    with Path("/proc/self/maps").open() as maps:
        assert any(line.rstrip().endswith(str(compiled)) and " r--" in line for line in maps)


@pytest.mark.parametrize(("batch", "threads"), [(BATCH + 1, 1), (BATCH, 2)])
def test_an_artifact_for_another_shape_is_refused(compiled: Path, batch: int, threads: int) -> None:
    with pytest.raises(ArtifactError, match="made for"):
        Executor(artifact.read(compiled, pack.KIND), batch, threads)


@pytest.mark.parametrize("count", [0, BATCH + 1])
def test_a_batch_outside_the_range_is_refused(
    executor: Executor, arena: np.ndarray, count: int
) -> None:
    with pytest.raises((ValueError, IndexError)):
        executor.run(arena, list(range(count)))


def chain(sizes: list[int], residuals: list[bool]) -> Program:
    """Convolutions in a row; some add the tensor before their source where shapes allow it."""
    tensors = {f"t{i}": Tensor((1, 1, size), "u8") for i, size in enumerate(sizes)}
    operations: list[Convolution] = []
    for i in range(len(sizes) - 1):
        residual = f"t{i - 1}" if i and residuals[i] and sizes[i - 1] == sizes[i + 1] else None
        taken = {operation.residual for operation in operations}
        operations.append(
            Convolution(
                *(f"c{i}", f"t{i}", f"t{i + 1}", (1, 1), (0, 0, 0, 0)),
                residual=None if residual in taken else residual,
            )
        )
    return Program("t0", f"t{len(sizes) - 1}", tensors, tuple(operations), {})


@given(
    st.lists(st.sampled_from([64, 100, 3000]), min_size=2, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.integers(1, 9),
)
def test_living_tensors_never_share_bytes(
    sizes: list[int], residuals: list[bool], batch: int
) -> None:
    program = chain(sizes, residuals)
    offsets, size = plan_buffers(program, batch)
    contents: dict[str, np.ndarray] = {}
    buffer = np.zeros(size, np.uint8)
    for marker, name in enumerate(program.tensors, start=1):
        start, length = offsets[name], _bytes(program, name)
        assert start % 64 == 0
        assert start + length * batch <= size
        contents[name] = buffer[start : start + length * batch]
        if name == program.input:
            contents[name][:] = marker
    markers = {name: marker for marker, name in enumerate(program.tensors, start=1)}
    for operation in program.operations:
        assert isinstance(operation, Convolution)
        assert (contents[operation.source] == markers[operation.source]).all()
        if operation.residual is not None:
            assert (contents[operation.residual] == markers[operation.residual]).all()
            assert offsets[operation.residual] == offsets[operation.output]
        contents[operation.output][:] = markers[operation.output]
    assert (contents[program.output] == markers[program.output]).all()


def _bytes(program: Program, name: str) -> int:
    return int(np.prod(program.tensors[name].shape))


def test_a_residual_that_is_read_again_is_refused() -> None:
    tensors = {name: Tensor((1, 1, 8), "u8") for name in "abcd"}
    none = (0, 0, 0, 0)
    program = Program(
        *("a", "d", tensors),
        (
            Convolution("x", "a", "b", (1, 1), none),
            Convolution("y", "b", "c", (1, 1), none, residual="a"),
            Convolution("z", "a", "d", (1, 1), none),
        ),
        {},
    )
    with pytest.raises(ValueError, match="residual is read again"):
        plan_buffers(program, 1)
