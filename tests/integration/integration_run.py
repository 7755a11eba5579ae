"""Whole runs from the command line, with real LoadGen, real processes and the real engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHARED_DATA = Path(os.environ.get("LOADRUN_SHARED_DATA", ROOT.parent / "shared" / "data"))
WEIGHTS = {"resnet50": "resnet50_v1.5.pth", "mobilenet": "mobilenet_v1_1.0_224.pth"}


@dataclass(frozen=True)
class Finished:
    """A run that has ended: its exit code, what it printed, and its run.json."""

    code: int
    output: str
    record: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """Top-1, 0..1."""
        return float(self.record["accuracy"]["value"])


def command(
    cache: Path, folder: Path, *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """``loadrun WORDS`` in `folder`, with `cache`; stderr and stdout in one."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LOADRUN_")}
    ours = {"LOADRUN_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "launch.cli", *words],
        cwd=folder,
        env={**inherited, **ours, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
        check=False,
    )


def loadrun(cache: Path, folder: Path, *words: str, **environment: str) -> Finished:
    """``loadrun run WORDS`` in a folder, made where it is not there, and what became of it."""
    folder.mkdir(exist_ok=True)
    results = folder / "results"
    done = command(cache, folder, "run", *words, "--results", str(results), **environment)
    records = [p for p in results.glob("*/*/run.json") if p.parent.parent.parent == results]
    assert len(records) == 1, done.stdout
    return Finished(done.returncode, done.stdout, json.loads(records[0].read_text()))


def real_data(model: str, images: Path, calibration: Path) -> list[str]:
    """Options that choose the real weights of SHARED_DATA, and images with their val_map.txt."""
    return [
        *("--weights", str(SHARED_DATA / "weights" / WEIGHTS[model])),
        *("--images", str(images), "--labels", str(images / "val_map.txt")),
        *("--calibration", str(calibration)),
    ]
