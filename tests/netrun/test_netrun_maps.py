"""Programs of several outputs: maps, shared layers, upsampling, gates, wider groups."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from netrun_programs import Layers, expected, expected_outputs
from numpy.typing import NDArray

from models.program import Convolution, Operation, Program, Tensor, Upsample, from_description
from netrun.engines.onednn.batches import as_they_are
from netrun.engines.onednn.compiler import EVERY, packed
from netrun.engines.onednn.executor import Executor
from netrun.engines.onednn.groups import factors_of, wide_weight, widened
from netrun.engines.onednn.stages import Stage, cut, plan_buffers

NONE, ONE = (0, 0, 0, 0), (1, 1, 1, 1)
RELU = math.inf


def pyramid(seed: int = 0) -> Program:
    """A grouped body of two maps, a pyramid, and heads that both levels share; one is gated."""
    layer = Layers(seed)
    tensors = {
        "pixels": Tensor((17, 17, 3), "u8", 1 / 64),
        "stem": Tensor((8, 8, 32), "u8", 0.02),
        "fine": Tensor((8, 8, 32), "u8", 0.02),
        "coarse": Tensor((4, 4, 64), "u8", 0.02),
        "inner4": Tensor((4, 4, 16), "s8", 0.02),
        "larger": Tensor((8, 8, 16), "s8", 0.02),
        "inner8": Tensor((8, 8, 16), "s8", 0.03),
        "tower4": Tensor((4, 4, 16), "u8", 0.01),
        "tower8": Tensor((8, 8, 16), "u8", 0.012),
        "scores4": Tensor((4, 4, 24), "u8", 0.004, offset=0.3),
        "scores8": Tensor((8, 8, 24), "u8", 0.004, offset=0.3),
        "boxes4": Tensor((4, 4, 8), "f32"),
        "boxes8": Tensor((8, 8, 8), "f32"),
    }
    layer("tower", 16, 16, 3, 3)
    layer("scores", 24, 16, 3, 3)
    layer("boxes", 8, 16, 1, 1)
    operations: tuple[Operation, ...] = (
        Convolution(layer("stem", 32, 3, 3, 3), "pixels", "stem", (2, 2), NONE, clamp=RELU),
        Convolution(
            *(layer("fine", 32, 4, 3, 3), "stem", "fine", (1, 1), ONE), groups=8, clamp=RELU
        ),
        Convolution(layer("coarse", 64, 32, 3, 3), "fine", "coarse", (2, 2), ONE, clamp=RELU),
        Convolution(layer("inner4", 16, 64, 1, 1), "coarse", "inner4", (1, 1), NONE),
        Convolution("tower@1", "inner4", "tower4", (1, 1), ONE, clamp=RELU, shares="tower"),
        Convolution("scores@1", "tower4", "scores4", (1, 1), ONE, clamp=RELU, shares="scores"),
        Convolution("boxes@1", "tower4", "boxes4", (1, 1), NONE, shares="boxes"),
        Upsample("larger", "inner4", "larger", 2),
        Convolution(
            *(layer("inner8", 16, 32, 1, 1), "fine", "inner8", (1, 1), NONE), residual="larger"
        ),
        Convolution("tower@2", "inner8", "tower8", (1, 1), ONE, clamp=RELU, shares="tower"),
        Convolution("scores@2", "tower8", "scores8", (1, 1), ONE, clamp=RELU, shares="scores"),
        Convolution("boxes@2", "tower8", "boxes8", (1, 1), NONE, shares="boxes"),
    )
    further = ("scores4", "boxes8", "boxes4")
    return Program("pixels", "scores8", tensors, operations, layer.constants, further)


def chain(seed: int = 0) -> Program:
    """Heads on the way of a chain, so that stages end between them."""
    layer = Layers(seed)
    tensors = {
        "pixels": Tensor((12, 12, 16), "u8", 1 / 64),
        "a": Tensor((12, 12, 32), "u8", 0.02),
        "b": Tensor((6, 6, 32), "u8", 0.02),
        "c": Tensor((3, 3, 32), "u8", 0.02),
        "of a": Tensor((12, 12, 4), "f32"),
        "of b": Tensor((6, 6, 4), "f32"),
        "of c": Tensor((3, 3, 4), "f32"),
    }
    operations: tuple[Operation, ...] = (
        Convolution(layer("a", 32, 16, 3, 3), "pixels", "a", (1, 1), ONE, clamp=RELU),
        Convolution(layer("of a", 4, 32, 1, 1), "a", "of a", (1, 1), NONE),
        Convolution(layer("b", 32, 32, 3, 3), "a", "b", (2, 2), ONE, clamp=RELU),
        Convolution(layer("of b", 4, 32, 1, 1), "b", "of b", (1, 1), NONE),
        Convolution(layer("c", 32, 32, 3, 3), "b", "c", (2, 2), ONE, clamp=RELU),
        Convolution(layer("of c", 4, 32, 1, 1), "c", "of c", (1, 1), NONE),
    )
    return Program("pixels", "of a", tensors, operations, layer.constants, ("of b", "of c"))


def samples(program: Program, count: int) -> NDArray[np.uint8]:
    shape = (count, *program.tensors[program.input].shape)
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def assert_near(program: Program, results: list[NDArray[np.generic]], given: object) -> None:
    assert isinstance(given, np.ndarray)
    for name, got, wanted in zip(
        program.outputs, results, expected_outputs(program, given), strict=True
    ):
        real = got.astype(np.float64)
        off = np.abs(real - wanted)
        if program.tensors[name].dtype == "f32":
            # A stored value on the way may be rounded to either neighbour.
            assert off.max() <= 0.02 * np.abs(wanted).max(), name
        else:
            assert off.max() <= 3, name
            assert wanted.max() > 20, name


def test_pytorch_gives_the_same_maps() -> None:
    from netrun.engines.pytorch.quantised import QuantisedNetwork

    program = pyramid()
    given = samples(program, 2)
    with torch.inference_mode():
        found = [output.numpy() for output in QuantisedNetwork(program, 2)(given)]
    assert [f.dtype for f in found] == [np.uint8, np.uint8, np.float32, np.float32]
    assert_near(program, found, given)


@pytest.mark.parametrize("tiled", [None, EVERY])
@pytest.mark.parametrize("chunk", [1, 3])
def test_a_pyramid_with_shared_heads(chunk: int, tiled: object) -> None:
    program = pyramid()
    stage = Stage(program.operations, "pixels", "boxes8", chunk)
    compiled = packed(program, [stage], as_they_are(3), 1, tiled)  # type: ignore[arg-type]
    assert "tower.packed.0" in compiled.arrays or tiled is EVERY
    executor = Executor(compiled, 3, 1)
    given = samples(program, 5)
    for positions in ([0, 1, 2], [4, 2], [3]):
        first = executor.run(given, positions)
        results = executor.results(len(positions))
        assert np.array_equal(first, results[0])
        assert_near(program, results, given[positions])


def test_outputs_are_made_in_all_stages() -> None:
    program = chain()
    stages = cut(program, 4, cache=12 * 12 * 48 * 2)
    assert [stage.chunk for stage in stages] != [stages[0].chunk] * len(stages)
    assert [stage.exits(program) for stage in stages if stage.exits(program)]
    executor = Executor(packed(program, stages, as_they_are(4), 1), 4, 1)
    given = samples(program, 4)
    executor.run(given, [0, 1, 2, 3])
    assert_near(program, executor.results(4), given)


def test_what_is_an_output_does_not_lie_between_stages() -> None:
    program = chain()
    whole = replace(program, output="a", further=("b", "of c"))
    for stage in cut(whole, 4, cache=12 * 12 * 48):
        assert stage is not None
        assert stage.output not in ("a", "b")
    executor = Executor(packed(whole, cut(whole, 2, 1), as_they_are(2), 1), 2, 1)
    given = samples(whole, 2)
    executor.run(given, [0, 1])
    assert_near(whole, executor.results(2), given)


def test_a_residual_that_is_an_output_is_refused() -> None:
    program = pyramid()
    program = replace(program, further=(*program.further, "larger"))
    with pytest.raises(ValueError, match="read again later"):
        plan_buffers(program, Stage(program.operations, "pixels", "boxes8", 1), 1)


def test_descriptions_say_what_is_there_and_no_more() -> None:
    program = pyramid()
    described = json.loads(json.dumps(program.describe()))
    again = from_description(described, program.constants)
    assert (again.operations, again.tensors) == (program.operations, program.tensors)
    assert again.outputs == program.outputs
    single = chain()
    single = replace(single, output="of c", further=())
    text = json.dumps(single.describe())
    assert "further" not in text
    assert "shares" not in text
    assert "offset" not in text


def test_shared_layers_count_for_each_use() -> None:
    macs = pyramid().macs()
    assert macs["tower@1"] == 16 * 16 * 9 * 16
    assert macs["tower@2"] == 4 * macs["tower@1"]


def test_wider_groups_compute_the_same() -> None:
    program = pyramid()
    tried: list[int] = []

    def time_of(alone: Program) -> float:
        (operation,) = alone.operations
        assert isinstance(operation, Convolution)
        tried.append(operation.groups)
        return {8: 8.0, 4: 3.0, 2: 4.0, 1: 9.0}[operation.groups]

    wide = widened(program, time_of, 0.98)
    assert tried == [8, 4, 2, 1]
    (fine,) = [o for o in wide.operations if o.name == "fine"]
    assert isinstance(fine, Convolution)
    assert fine.groups == 4
    assert wide.constants["fine.weight"].shape == (32, 8, 3, 3)
    assert factors_of(program, wide) == {"fine": 2}
    given = samples(program, 2)
    assert np.array_equal(expected(wide, given), expected(program, given))
    assert widened(program, lambda alone: 1.0, 0.98).operations == program.operations


def test_a_wide_weight_is_zero_between_its_groups() -> None:
    weight = np.arange(1, 17, dtype=np.int8).reshape(8, 2, 1, 1)
    wide = wide_weight(weight, 4, 2)[..., 0, 0]
    assert wide.tolist() == [
        [1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, 8],
        [9, 10, 0, 0], [11, 12, 0, 0], [0, 0, 13, 14], [0, 0, 15, 16],
    ]  # fmt: skip
