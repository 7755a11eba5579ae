"""The oneDNN executor against arithmetic written out in numpy, and against PyTorch's operators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from netrun_programs import expected, residual_program, saturating_program

from models import artifact
from models.artifact import ArtifactError
from models.program import Convolution, Program, Tensor
from netrun.engines.onednn import compiler, pack
from netrun.engines.onednn.batches import Plan, as_they_are, filled
from netrun.engines.onednn.executor import Executor
from netrun.engines.onednn.stages import Stage, chunks, cut, plan_buffers

BATCH = 5


@pytest.fixture(scope="module")
def program() -> Program:
    return residual_program()


@pytest.fixture(scope="module")
def compiled(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "artifact"
    compiler.compile_program(program, path, BATCH, threads=1, facts={"model": "residual"})
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


def test_sums_at_the_bound_of_a_pair_do_not_saturate(tmp_path: Path) -> None:
    program = saturating_program()
    compiler.compile_program(program, tmp_path / "a", 2, threads=1, facts={})
    executor = Executor(artifact.read(tmp_path / "a", pack.KIND), 2, threads=1)
    white = np.full((2, 6, 6, 3), 255, np.uint8)
    exact = expected(program, white)
    np.testing.assert_allclose(executor.run(white, [0, 1]), exact, rtol=1e-6)
    assert exact.max() < 255 * program.tensors["point"].scale * 256 * 127  # nothing is clipped


def test_a_sample_answers_alike_in_every_batch(executor: Executor, arena: np.ndarray) -> None:
    alone = executor.run(arena, [11]).copy()
    for size in range(1, BATCH + 1):
        for place in range(size):
            positions = [3] * size
            positions[place] = 11
            np.testing.assert_array_equal(executor.run(arena, positions)[place], alone[0])


@pytest.mark.parametrize("cache", [1, 9_000, 20_000, 1 << 30])
def test_results_do_not_depend_on_the_cut(
    program: Program, executor: Executor, arena: np.ndarray, cache: int
) -> None:
    positions = [30, 2, 9, 9, 17]
    whole = executor.run(arena, positions).copy()
    stages = cut(program, BATCH, cache)
    assert len({tuple(s.chunk for s in cut(program, BATCH, c)) for c in (1, 9_000, 20_000)}) == 3
    small = Executor(compiler.packed(program, stages, as_they_are(BATCH), 1), BATCH, 1)
    assert small.stages == stages
    np.testing.assert_array_equal(small.run(arena, positions), whole)
    np.testing.assert_array_equal(small.run(arena, positions[:3]), whole[:3])


@pytest.mark.parametrize("cache", [1, 1 << 30])
@pytest.mark.parametrize("plan", [filled(BATCH), [[1], [1, 1], [5], [1, 3], [3, 3]]])
def test_results_do_not_depend_on_the_plan(
    program: Program, executor: Executor, arena: np.ndarray, plan: Plan, cache: int
) -> None:
    stages = cut(program, BATCH, cache)
    planned = Executor(compiler.packed(program, stages, plan, 1), BATCH, 1)
    planned.prepare()
    for positions in ([7], [8, 9], [3, 0, 5], [31, 1, 2, 30], [4, 5, 6, 7, 9]):
        exact = executor.run(arena, positions).copy()
        np.testing.assert_array_equal(planned.run(arena, positions), exact)
        assert (planned.profile(arena, positions) > 0).all()
        np.testing.assert_array_equal(planned.run(arena, positions), exact)


def test_a_profile_computes_what_it_times(
    program: Program, executor: Executor, arena: np.ndarray
) -> None:
    expected = executor.run(arena, [1, 5, 2]).copy()
    output = executor.run(arena, [3, 4, 6])
    times = executor.profile(arena, [1, 5, 2])
    np.testing.assert_array_equal(output, expected)
    assert len(times) == len(program.operations) == len(executor.kernels())
    assert (times > 0).all()
    assert (executor.calls(3) == 1).all()


def test_pytorch_executes_the_same_program(
    program: Program, executor: Executor, arena: np.ndarray
) -> None:
    import torch

    from netrun.engines.pytorch.quantised import QuantisedNetwork

    positions = [1, 2, 3, 4]
    with torch.inference_mode():
        theirs = QuantisedNetwork(program, BATCH)(arena[positions])[0].numpy()
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
        # Never the samples themselves: they are read only.
        residual = f"t{i - 1}" if i > 1 and residuals[i] and sizes[i - 1] == sizes[i + 1] else None
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
    st.sampled_from([1, 500, 4000, 9000, 1 << 20]),
)
def test_living_tensors_never_share_bytes(
    sizes: list[int], residuals: list[bool], batch: int, cache: int
) -> None:
    program = chain(sizes, residuals)
    markers = {name: marker for marker, name in enumerate(program.tensors, start=1)}
    between = {program.input: np.full((batch, sizes[0]), markers[program.input], np.uint8)}
    stages = cut(program, batch, cache)
    assert [o for stage in stages for o in stage.operations] == list(program.operations)
    for stage in stages:
        source = between[stage.source]
        in_place = stage.output in plan_buffers(program, stage, 1).at_source
        output = source if in_place else np.zeros((batch, _bytes(program, stage.output)), np.uint8)
        for start, end in chunks(batch, stage.chunk):
            follow(program, stage, source[start:end], output[start:end], markers)
        between[stage.output] = output
    assert (between[program.output] == markers[program.output]).all()


def follow(
    program: Program,
    stage: Stage,
    source: np.ndarray,
    output: np.ndarray,
    markers: dict[str, int],
) -> None:
    """Write markers as a chunk would write results; each reader must find what it expects."""
    count = len(source)
    buffers = plan_buffers(program, stage, count)
    inside = np.zeros(buffers.size, np.uint8)

    def content(name: str) -> np.ndarray:
        if name in buffers.at_source:
            return source
        if name in buffers.at_output:
            return output
        start = buffers.inside[name]
        assert start % 64 == 0
        return inside[start : start + _bytes(program, name) * count]

    for operation in stage.operations:
        assert isinstance(operation, Convolution)
        assert (content(operation.source) == markers[operation.source]).all()
        if operation.residual is not None:
            residual = content(operation.residual)
            assert (residual == markers[operation.residual]).all()
            assert np.shares_memory(residual, content(operation.output))
        result = content(operation.output)
        assert result.size == _bytes(program, operation.output) * count
        result[:] = markers[operation.output]


def _bytes(program: Program, name: str) -> int:
    return int(np.prod(program.tensors[name].shape))


def test_stages_follow_the_size_of_activations() -> None:
    program = chain([100_000, 100_000, 30_000, 10_000, 5_000, 1_000], [False] * 6)
    stages = cut(program, 16, 150_000)
    # 200, 130, 40, 15 and 6 kB a sample: 0, 1, 3, 10 and 25 of them fit.
    assert [(stage.source, stage.chunk) for stage in stages] == [
        *[("t0", 1), ("t2", 2), ("t3", 8), ("t4", 16)],
    ]
    assert [stage.chunk for stage in cut(program, 1, 150_000)] == [1]


def test_no_cut_inside_a_residual_block() -> None:
    program = residual_program()
    for cache in (1, 5_000, 100_000):
        for stage in cut(program, 8, cache):
            names = [operation.name for operation in stage.operations]
            assert names.count("project") == names.count("a") == names.count("b")


@given(st.integers(1, 100), st.integers(1, 40))
def test_chunks_are_few_equal_and_whole(count: int, most: int) -> None:
    parts = list(chunks(count, most))
    assert [i for start, end in parts for i in range(start, end)] == list(range(count))
    sizes = [end - start for start, end in parts]
    assert len(sizes) == -(-count // most)
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1


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
    (stage,) = cut(program, 1, 1 << 20)
    with pytest.raises(ValueError, match="residual is read again"):
        plan_buffers(program, stage, 1)


def test_samples_are_never_written_over() -> None:
    tensors = {name: Tensor((1, 1, 8), "u8") for name in "abc"}
    none = (0, 0, 0, 0)
    operations = (
        Convolution("x", "a", "b", (1, 1), none),
        Convolution("y", "b", "c", (1, 1), none, residual="a"),
    )
    program = Program("a", "c", tensors, operations, {})
    (stage,) = cut(program, 1, 1 << 20)
    with pytest.raises(ValueError, match="over the samples"):
        plan_buffers(program, stage, 1)
