"""What the processor offers int8, and the notice for the user."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from launch.machine.instructions import InstructionSet, read_instruction_set
from launch.supervise.environment import PACKAGE_ROOT, base_environment

OLD = "fpu sse4_1 ssse3"
HASWELL = f"{OLD} avx avx2 fma"
ALDER_LAKE = f"{HASWELL} avx_vnni"
SKYLAKE = f"{HASWELL} avx512f avx512dq avx512bw avx512vl avx512cd"
CASCADE_LAKE = f"{SKYLAKE} avx512_vnni"
SAPPHIRE_RAPIDS = (
    f"{CASCADE_LAKE} avx_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16 amx_complex"
)


def read(folder: Path, flags: str, bound: str = "") -> InstructionSet | None:
    (folder / "proc").mkdir(exist_ok=True)
    (folder / "proc/cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n\n")
    return read_instruction_set(folder, {"ONEDNN_MAX_CPU_ISA": bound})


@pytest.mark.parametrize(
    ("flags", "bound", "name", "vnni"),
    [
        (OLD, "", "SSE41", False),
        (HASWELL, "", "AVX2", False),
        (ALDER_LAKE, "", "AVX2_VNNI", True),
        (SKYLAKE, "", "AVX512_CORE", False),
        (CASCADE_LAKE, "", "AVX512_CORE_VNNI", True),
        (SAPPHIRE_RAPIDS, "", "AVX512_CORE_AMX", True),
        (CASCADE_LAKE, "AVX512_CORE", "AVX512_CORE", False),
        (CASCADE_LAKE, "AVX2", "AVX2", False),
        (CASCADE_LAKE, "AVX2_VNNI", "AVX2", False),
        (SAPPHIRE_RAPIDS, "avx2_vnni", "AVX2_VNNI", True),
        (CASCADE_LAKE, "SSE41", "SSE41", False),
        (HASWELL, "AVX512_CORE_VNNI", "AVX2", False),
        (CASCADE_LAKE, "ALL", "AVX512_CORE_VNNI", True),
        (CASCADE_LAKE, "nonsense", "AVX512_CORE_VNNI", True),
    ],
)
def test_the_highest_instruction_set_that_is_there_and_allowed(
    tmp_path: Path, flags: str, bound: str, name: str, vnni: bool
) -> None:
    found = read(tmp_path, flags, bound)
    assert found is not None
    assert (found.name, found.vnni) == (name, vnni)
    assert (found.notice is None) == vnni


def test_the_notice_names_the_missing_feature_its_effect_and_the_cure(tmp_path: Path) -> None:
    found = read(tmp_path, SKYLAKE)
    assert found is not None
    assert found.notice == (
        "this processor has no VNNI instructions: int8 runs on the slower kernels for AVX512_CORE"
    )
    found = read(tmp_path, CASCADE_LAKE, "AVX2")
    assert found is not None
    assert found.notice == (
        "ONEDNN_MAX_CPU_ISA=AVX2 holds oneDNN below AVX512_CORE_VNNI: int8 runs on the slower"
        " kernels for AVX2 (cure: unset it)"
    )


def test_a_processor_that_is_no_x86_has_none(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\n")
    assert read_instruction_set(tmp_path, {}) is None
    assert read_instruction_set(tmp_path / "absent", {}) is None


@pytest.mark.skipif(platform.machine() != "x86_64", reason="oneDNN's library is for x86-64")
@pytest.mark.parametrize("bound", ["", "SSE41", "AVX2", "AVX512_CORE"])
def test_onednn_itself_agrees(bound: str) -> None:
    code = (
        "from launch.machine.instructions import read_instruction_set\n"
        "from netrun.engines.onednn.library import ISA_NAMES, load\n"
        "print(read_instruction_set().name, ISA_NAMES[load().isa])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PACKAGE_ROOT,
        env=base_environment({**os.environ, "ONEDNN_MAX_CPU_ISA": bound}),
        capture_output=True,
        text=True,
        check=True,
    )
    ours, theirs = done.stdout.split()
    assert ours == theirs
