"""Where kernels of our own are used: what they can compute, and where they were faster."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from netrun_programs import residual_program

from models.program import Convolution, Program, Tensor
from netrun.engines.amx import Pointwise, supported
from netrun.engines.onednn import compiler, tiles
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.batches import as_they_are
from netrun.engines.onednn.executor import Executor
from netrun.engines.onednn.stages import Stage, cut

BATCH = 5


def found(**changes: object) -> tiles.Tiled | None:
    """What is found for a 1x1 convolution of 32 to 64 channels with ReLU, with `changes`."""
    operation = Convolution("a", "x", "y", (1, 1), (0, 0, 0, 0), clamp=float("inf"))
    tensors = {"x": Tensor((6, 6, 32), "u8"), "y": Tensor((6, 6, 64), "u8", 0.5)}
    constants = {"a.weight": np.ones((64, 32, 1, 1), np.int8)}
    operation = replace(operation, **changes)  # type: ignore[arg-type]
    program = Program("x", "y", tensors, (operation,), constants)
    return tiles.in_stage(program, Stage((operation,), "x", "y", 1)).get("a")


def test_a_pointwise_layer_has_a_kernel() -> None:
    plain, bounded = found(), found(clamp=6.0)
    assert plain is not None
    assert plain.layer == Pointwise(6, 6, 32, 64)
    assert bounded is not None
    assert bounded.layer == Pointwise(6, 6, 32, 64, bound=12.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": 2},
        {"padding": (1, 0, 0, 0)},
        {"stride": (2, 2)},
        {"stride": (1, 2)},
        {"clamp": None},
    ],
)
def test_other_layers_have_none(changes: dict[str, object]) -> None:
    # Without an activation an output of u8 would have to be bounded below: stored as s8 it is not.
    assert found(**changes) is None


def test_a_size_takes_our_kernel_where_that_was_faster() -> None:
    plain = {"a": {1: 100.0, 2: 100.0, 4: 100.0}, "b": {1: 100.0}}
    own = {"a": {1: 99.0, 2: 50.0, 4: 120.0}, "b": {1: 100.0}}
    sizes = {"a": [1, 2, 3, 4, 5], "b": [1]}
    assert tiles.faster(plain, own, sizes, worth=0.98) == {"a": [2, 3]}


def test_without_tiles_nothing_of_ours_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "supported", lambda isa, layer: False)
    program = residual_program()
    compiled = compiler.packed(
        program, cut(program, BATCH, 1 << 30), as_they_are(BATCH), 1, compiler.EVERY
    )
    assert compiled.facts["tiled"] == {}
    assert not any(name.endswith(".tiles") for name in compiled.arrays)


@pytest.mark.parametrize("threads", [1, 2])
def test_answers_are_those_of_the_library_to_the_bit(threads: int) -> None:
    if not supported(dnn.load().isa, Pointwise(1, 1, 64, 64)):
        pytest.skip("this processor has no tiles (amx_int8)")
    program = residual_program()
    arena = np.random.default_rng(3).integers(0, 256, (16, 21, 21, 3), dtype=np.uint8)
    for cache in (1, 1 << 30):
        stages, plan = cut(program, BATCH, cache), as_they_are(BATCH)
        plain = Executor(compiler.packed(program, stages, plan, threads), BATCH, threads)
        compiled = compiler.packed(program, stages, plan, threads, compiler.EVERY)
        assert set(compiled.facts["tiled"]) == {"b", "project"}
        own = Executor(compiled, BATCH, threads)
        for positions in ([3], [9, 1], [4, 5, 6, 7, 8]):
            exact = plain.run(arena, positions).copy()
            np.testing.assert_array_equal(own.run(arena, positions), exact)
            assert (own.profile(arena, positions) > 0).all()
