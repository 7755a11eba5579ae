"""`loadrun calibrate` and the runs after it, where nothing can be compiled and VNNI is missing."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from integration_run import command, loadrun
from PIL import Image

from launch.machine.instructions import read_instruction_set
from models import artifact
from models.imagenet.classifier import classifier
from netrun.engines.onednn.pack import KIND

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="oneDNN is for x86-64")
CALIBRATION = 9


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, images to serve and to calibrate with, and a folder without programs."""
    home = tmp_path_factory.mktemp("home")
    torch.manual_seed(0)
    torch.save(classifier("mobilenet").network().state_dict(), home / "weights.pth")
    random = np.random.default_rng(5)
    for name, count in (("served", 16), ("calibration", CALIBRATION)):
        (home / name).mkdir()
        for i in range(count):
            pixels = random.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).resize((256, 256)).save(home / name / f"{i}.png")
    (home / "no-programs").mkdir()
    return home


def calibrate(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    chosen = ["--weights", str(home / "weights.pth"), "--images", str(home / "calibration")]
    return command(home / "cache", home, "calibrate", "mobilenet", *chosen, *words, **environment)


def built_files(home: Path) -> dict[str, tuple[int, int, int]]:
    """The cache's artifacts with what changes when one is written."""
    stats = {path.name: path.stat() for path in (home / "cache/artifacts").glob("[!.]*")}
    return {name: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in stats.items()}


@pytest.fixture(scope="module")
def calibrated(home: Path) -> str:
    """What the first calibration said; no compiler, and nothing else, is on its PATH."""
    done = calibrate(home, "--batch-size", "4", "--threads", "1", PATH=str(home / "no-programs"))
    assert done.returncode == 0, done.stdout
    return done.stdout


def run(home: Path, folder: Path, **environment: str) -> tuple[str, dict[str, Any]]:
    words = [
        *("--fast", "--time", "1", "--instances", "1", "--cores", "1", "--batch-size", "4"),
        *("--weights", str(home / "weights.pth"), "--images", str(home / "served")),
        *("--calibration", str(home / "calibration")),
    ]
    finished = loadrun(home / "cache", folder, "mobilenet", *words, **environment)
    assert finished.record["status"] == "COMPLETE", finished.output
    return finished.output, finished.record


def test_it_says_where_what_it_made_stands(home: Path, calibrated: str) -> None:
    files = re.findall(r"^(.*): built, key ([0-9a-f]{16})\n  (.*)$", calibrated, re.MULTILINE)
    assert [what for what, _, _ in files] == ["int8 program", "compiled for this machine"]
    for _, key, path in files:
        assert path.startswith(str(home / "cache"))
        assert path.endswith(f"-{key}.network")
        assert Path(path).stat().st_size > 1_000_000
    assert f"calibration images: {CALIBRATION} of calibration\n" in calibrated
    assert re.search(r"^calibrated in \d.* s$", calibrated, re.MULTILINE)
    assert "preparing: calibrating and compiling (once)" in calibrated
    assert "preparing: measuring batch sizes (once)" in calibrated


def test_a_run_uses_it_without_calibrating_again(
    home: Path, calibrated: str, tmp_path: Path
) -> None:
    before = built_files(home)
    output, record = run(home, tmp_path)
    assert "calibrating" not in output
    assert "measuring batch sizes" not in output
    details = record["engines"]["0"]["details"]
    assert len(details["batch_ms"]) == 4
    assert details["references"] == {}
    page = (tmp_path / "results/offline/mobilenet/report.html").read_text()
    assert "Time of a sample by batch size" in page
    assert built_files(home) == before
    assert record["artifact"] in before
    assert record["artifact"] in calibrated


def test_the_second_time_it_is_there_already(home: Path, calibrated: str) -> None:
    before = built_files(home)
    done = calibrate(home, "--batch-size", "4", "--threads", "1")
    assert done.returncode == 0
    assert "calibrating" not in done.stdout
    assert "already calibrated" in done.stdout
    assert done.stdout.count(": found, key ") == 2
    assert built_files(home) == before


def test_build_finds_it_as_a_run_does(home: Path, calibrated: str) -> None:
    words = ["--weights", str(home / "weights.pth"), "--images", str(home / "served")]
    words += ["--calibration", str(home / "calibration"), "--batch-size", "4", "--threads", "1"]
    done = command(home / "cache", home, "build", "mobilenet", *words)
    assert done.returncode == 0, done.stdout
    paths = re.findall(r"^(?:int8 program|compiled .*): found, key .*\n  (.*)$", done.stdout, re.M)
    assert len(paths) == 2
    assert all(f"\n  {path}\n" in calibrated for path in paths)
    assert f"calibration images: {CALIBRATION} of calibration\n" in done.stdout
    assert "already built" in done.stdout
    assert "preprocessing images" not in done.stdout


def test_build_makes_what_other_precisions_need(home: Path) -> None:
    words = ["--weights", str(home / "weights.pth"), "--precision", "bf16"]
    done = command(home / "cache", home, "build", "mobilenet", *words)
    assert done.returncode == 0, done.stdout
    (path,) = re.findall(r"^bf16 network: built, key [0-9a-f]{16}\n  (.*)$", done.stdout, re.M)
    assert Path(path).stat().st_size > 1_000_000
    assert "  engine: pytorch\n" in done.stdout
    assert "calibration" not in done.stdout
    assert re.search(r"^built in \d.* s$", done.stdout, re.M)


@pytest.mark.usefixtures("calibrated")
def test_another_batch_size_is_compiled_and_not_calibrated(home: Path) -> None:
    done = calibrate(home, "--batch-size", "2", "--threads", "1")
    assert "int8 program: found" in done.stdout
    assert "compiled for this machine: built" in done.stdout
    assert "calibrating" not in done.stdout


@pytest.mark.usefixtures("calibrated")
def test_for_pytorch_nothing_is_compiled(home: Path) -> None:
    before = built_files(home)
    done = calibrate(home, "--engine", "pytorch")
    assert "int8 program: found" in done.stdout, done.stdout
    assert "compiled" not in done.stdout
    assert built_files(home) == before


def contents(path: Path) -> dict[str, bytes]:
    """What is the same each time it is built: not the times, nor layouts of ways to cut by them."""
    compiled = artifact.read(path, KIND)
    return {name: array.tobytes() for name, array in compiled.arrays.items() if "bias" in name}


@pytest.mark.usefixtures("calibrated")
def test_a_damaged_artifact_is_built_anew_with_a_notice(home: Path) -> None:
    (compiled,) = (home / "cache/artifacts").glob("mobilenet-onednn-b4-t1-*")
    before = contents(compiled)
    compiled.write_bytes(compiled.read_bytes()[:-100])
    done = calibrate(home, "--batch-size", "4", "--threads", "1")
    assert done.returncode == 0
    assert f"  note: {compiled}: is truncated: building it anew\n" in done.stdout
    assert "compiled for this machine: built" in done.stdout
    assert contents(compiled) == before


@pytest.mark.usefixtures("calibrated")
def test_a_directory_in_its_place_is_one_line(home: Path) -> None:
    (program,) = (home / "cache/artifacts").glob("mobilenet-int8-*")
    whole = program.read_bytes()
    program.unlink()
    program.mkdir()
    done = calibrate(home)
    program.rmdir()
    program.write_bytes(whole)
    assert done.returncode == 2
    last = done.stdout.splitlines()[-1]
    assert last == f"loadrun: error: {program}: a directory is where a file belongs; delete it"


@pytest.mark.usefixtures("calibrated")
@pytest.mark.parametrize("bound", ["AVX2", "SSE41"])
def test_an_old_instruction_set_runs_with_a_notice(home: Path, tmp_path: Path, bound: str) -> None:
    output, record = run(home, tmp_path, ONEDNN_MAX_CPU_ISA=bound, PATH=str(home / "no-programs"))
    (notice,) = re.findall(r"^  note: (.*: int8 runs on the slower kernels .*)$", output, re.M)
    here = read_instruction_set(environment={})
    assert here is not None
    held = here.name not in (bound, "AVX", "SSE41")
    assert notice.startswith(f"ONEDNN_MAX_CPU_ISA={bound} holds" if held else "this processor has")
    host = record["host"]
    assert (host["isa"], host["vnni"], host["max_cpu_isa"]) == (bound, False, bound)
    assert record["engines"]["0"]["details"]["isa"] == bound
