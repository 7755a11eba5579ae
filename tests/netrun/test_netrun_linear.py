"""int8 layers through PyTorch: whole sums on every instruction set, and no reference kernel."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from launch.supervise.environment import base_environment
from netrun.engines.onednn import library

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="instruction sets of x86, for which oneDNN's package is"
)
SCRIPT = Path(__file__).with_name("linear_of_isa.py")
DIFFERING = ("SSE41", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
SATURATE = ("SSE41", "AVX", "AVX2", "AVX512_CORE")
"""Without VNNI: the sums of two products have 16 bits."""


def run(isa: str) -> str:
    bound = {"ONEDNN_MAX_CPU_ISA": isa, "ONEDNN_VERBOSE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env={**base_environment(os.environ), **bound},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sums_are_whole_on_every_instruction_set() -> None:
    own = library.load().isa
    names = [name for bits, name in library.ISA_NAMES.items() if bits & own == bits]
    names = [name for name in names if name in DIFFERING or name == names[-1]]
    with ThreadPoolExecutor(2) as pool:
        outputs = dict(zip(names, pool.map(run, names), strict=True))
    for isa, output in outputs.items():
        found = json.loads(output.splitlines()[-1])
        for kind, (relative, steps) in found["distances"].items():
            assert relative < 1e-4, (isa, kind)
            assert steps <= 1, (isa, kind)
        assert found["through onednn"] is (isa not in SATURATE)
        kernels = re.findall(r"exec,cpu,matmul,([^,]+),", output)
        assert kernels
        assert not [kernel for kernel in kernels if kernel.startswith("ref")], isa
