"""The pytorch engine's int8: programs on PyTorch's operators against arithmetic in numpy."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from netrun_programs import expected, residual_program, saturating_program, uneven_program

from models.program import Convolution, Program
from netrun.engines.pytorch.quantised import (
    QuantisedNetwork,
    with_even_padding,
    with_unsigned_residuals,
)

BATCH = 5
PROGRAMS = {
    "residual": residual_program,
    "saturating": saturating_program,
    "uneven": uneven_program,
}


def samples_for(program: Program, count: int = BATCH) -> np.ndarray:
    shape = program.tensors[program.input].shape
    return np.random.default_rng(3).integers(0, 256, (count, *shape), dtype=np.uint8)


def one_rounding(program: Program) -> float:
    """What one different rounding of one value changes in an output, and a little more."""
    head = program.operations[-1]
    weight = program.constants[f"{head.name}.weight"]
    real = weight * program.constants[f"{head.name}.scales"][:, None]
    return float(np.abs(real).max() * program.tensors[head.source].scale * 3)


def worst(name: str) -> tuple[float, float]:
    """The largest error of any batch size, and what the outputs span, in parts of one rounding."""
    program = PROGRAMS[name]()
    samples, error = samples_for(program), 0.0
    exact = expected(program, samples)
    with torch.inference_mode():
        network = QuantisedNetwork(program, BATCH)
        for batch in range(1, BATCH + 1):
            error = max(error, np.abs(network(samples[:batch])[0].numpy() - exact[:batch]).max())
    return error / one_rounding(program), np.ptp(exact) / one_rounding(program)


@pytest.mark.parametrize("name", PROGRAMS)
def test_results_are_those_of_the_arithmetic(name: str) -> None:
    error, span = worst(name)
    assert error <= 1
    assert span > 20


# The bounded pairs of weights keep sums of 16 bits whole; the first level has no such sums.
@pytest.mark.parametrize("level", ["SSE41", "AVX2", "AVX512_CORE", "AVX512_CORE_VNNI"])
@pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86-64")
def test_results_do_not_depend_on_the_instruction_set(level: str) -> None:
    code = "import test_netrun_pytorch as t; print(*(n for p in t.PROGRAMS for n in t.worst(p)))"
    environment = {
        **os.environ,
        "ONEDNN_MAX_CPU_ISA": level,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = [float(word) for word in done.stdout.split()]
    assert max(figures[::2]) <= 1


def test_a_sample_answers_alike_in_every_batch() -> None:
    program = residual_program()
    samples = samples_for(program)
    with torch.inference_mode():
        network = QuantisedNetwork(program, BATCH)
        (whole,) = network(samples)
        for batch in range(1, BATCH + 1):
            assert torch.equal(network(samples[-batch:])[0], whole[-batch:])


def test_samples_are_never_written_over() -> None:
    program = uneven_program()  # its first layer adds the samples
    samples = samples_for(program)
    before = samples.copy()
    with torch.inference_mode():
        QuantisedNetwork(program, BATCH)(samples)
    np.testing.assert_array_equal(samples, before)


def test_an_int8_residual_becomes_unsigned_where_it_is_only_added() -> None:
    program = residual_program()
    changed = with_unsigned_residuals(program)
    assert program.tensors["project"].dtype == "s8"
    assert changed.tensors["project"].dtype == "u8"
    samples = samples_for(program)
    exact = expected(program, samples)
    np.testing.assert_allclose(
        expected(changed, samples), exact, atol=one_rounding(program), rtol=0
    )
    alone = replace(program, output="project")  # an output stays what it is
    assert with_unsigned_residuals(alone).tensors == program.tensors
    uneven = uneven_program()  # one of its sums is int8
    assert with_unsigned_residuals(uneven).tensors == uneven.tensors


def test_padding_becomes_even_without_another_result() -> None:
    program = uneven_program()
    changed = with_even_padding(program)
    for operation in changed.operations:
        if isinstance(operation, Convolution):
            top, bottom, left, right = operation.padding
            assert (top, left) == (bottom, right)
    samples = samples_for(program)
    np.testing.assert_allclose(expected(changed, samples), expected(program, samples), rtol=1e-9)
    assert with_even_padding(residual_program()).operations == residual_program().operations


def test_batch_sizes_share_layouts() -> None:
    network = QuantisedNetwork(residual_program(), BATCH)
    kept = [
        {id(weights.packed(batch)) for batch in range(1, BATCH + 1)} for weights in network._weights
    ]
    assert sum(map(len, kept)) < BATCH * len(kept) / 2


def test_a_clamp_after_an_addition_is_refused() -> None:
    program = residual_program()
    operations = tuple(
        replace(o, clamp=1.0) if isinstance(o, Convolution) and o.residual else o
        for o in program.operations
    )
    with pytest.raises(ValueError, match="b: a clamp after an addition"):
        QuantisedNetwork(replace(program, operations=operations), BATCH)
