"""Every instruction set, every batch size: no reference kernel, and the same answers."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kernels_of_isa import MOST
from netrun_programs import residual_program

from launch.build.assets import Assets
from launch.supervise.environment import base_environment
from models import program
from models.samples import Prepared
from netrun.engines.onednn import library
from netrun.engines.pytorch.quantised import QuantisedNetwork

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="instruction sets of x86, for which oneDNN's package is"
)
NAMES = ("mobilenet", "resnet50")
WITHOUT_FMA = ("SSE41", "AVX")
CLOSE = 0.1
"""Mean distance of answers in parts of their spread over samples, where roundings differ."""
SCRIPT = Path(__file__).with_name("kernels_of_isa.py")


@pytest.fixture(scope="module")
def folder(synthetic_programs: dict[str, Assets], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both networks and a small program, their samples, and their answers on this machine."""
    made = tmp_path_factory.mktemp("programs")
    for name in NAMES:
        assets = synthetic_programs[name]
        assert assets.artifact is not None
        (made / f"{name}.program").symlink_to(assets.artifact)
        np.save(
            made / f"{name}.samples.npy",
            Prepared.open(Path(assets.samples.path)).column("pixels")[:MOST],
        )
    residual_program().save(made / "small.program", {})
    small = np.random.default_rng(3).integers(0, 256, (MOST, 21, 21, 3), np.uint8)
    np.save(made / "small.samples.npy", small)
    look(made, {}, "own")
    return made


def look(folder: Path, bound: dict[str, str], *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), *words],
        env={**base_environment({**os.environ, **bound}), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def levels() -> list[str]:
    """The names of this machine's instruction set and of all that it includes."""
    own = library.load().isa
    return [name for bits, name in library.ISA_NAMES.items() if bits & own == bits]


def test_no_instruction_set_has_reference_kernels_or_other_answers(folder: Path) -> None:
    names = levels()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda n: look(folder, {"ONEDNN_MAX_CPU_ISA": n}), names))
    assert {one["isa"] for one in found} <= set(library.ISA_NAMES.values())
    assert len({one["isa"] for one in found}) >= min(3, len(names))
    for one in found:
        for name, result in one["programs"].items():
            assert result["references"] == [], (one["isa"], name)
            assert result["tiled differing"] == [], (one["isa"], name)
            has_tiles = "AMX" in one["isa"] and name == "resnet50"
            assert bool(result["tiled"]) >= has_tiles, (one["isa"], name)
            # Without fused multiply-add a residual is rounded once more: a step now and then.
            assert result["distance"] < CLOSE, (one["isa"], name)
            assert one["isa"] in WITHOUT_FMA or not result["differing"], (one["isa"], name)


@pytest.mark.parametrize("name", [*NAMES, "small"])
def test_answers_are_those_of_the_pytorch_engine(folder: Path, name: str) -> None:
    loaded, _ = program.load(folder / f"{name}.program")
    samples = np.load(folder / f"{name}.samples.npy")
    ours = np.load(folder / f"{name}.answers.npy")
    with torch.inference_mode():
        theirs = QuantisedNetwork(loaded, MOST)(samples)[0].numpy()
    # Results are scaled in another order there: a step of a stored value now and then.
    assert np.abs(ours - theirs).mean() < 0.4 * ours.std(0).mean()
    assert (ours.argmax(1) == theirs.argmax(1)).mean() > 0.9
