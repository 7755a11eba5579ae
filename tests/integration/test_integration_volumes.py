"""A run of 3D U-Net: real volumes in, MLPerf's line out, though an instance is killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from integration_run import ROOT
from volume_cases import kits19_network, scans

from shm.control import ControlBlock, RunState
from shm.segment import ShmError

LINE = re.compile(r"Accuracy: mean = 0\.\d{5}, class 1 = 0\.\d{4}, class 2 = 0\.\d{4}")
SHAPES = [(30, 40, 20), (128, 48, 130), *[(640, 64, 64)] * 3]
"""Of one window, of two, and of nine, of which four go through the network together."""
VOXELS = [32 * 40 * 20, 128 * 48 * 192, *[640 * 64 * 64] * 3]
"""Filled up as the network and windows need it."""


def test_an_instance_that_is_killed_within_a_volume_loses_that_alone(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    torch.save(kits19_network().state_dict(), tmp_path / "weights.pth")
    scans(tmp_path / "volumes", SHAPES)
    scans(tmp_path / "others", [(48, 48, 48)])
    words = ["run", "3d-unet", "--mode", "AccuracyOnly", "--instances", "2", "--oversubscribe"]
    words += ["--weights", str(tmp_path / "weights.pth"), "--data", str(tmp_path / "volumes")]
    words += ["--calibration", str(tmp_path / "others")]
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.cli", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LOADRUN_CACHE": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    _kill_within_a_volume(tmp_path / "results")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "batch size 1," in output
    assert LINE.search(output)
    home = tmp_path / "results/offline/3d-unet-99"
    log = json.loads((home / "accuracy/mlperf_log_accuracy.json").read_text())
    assert {e["qsl_idx"]: len(e["data"]) // 2 for e in log} == dict(enumerate(VOXELS))
    record = json.loads((home / "run.json").read_text())
    assert record["accuracy"]["metric"] == "DICE"
    assert [death["instance"] for death in record["deaths"]] == [0]
    # The one that it worked on, and the one that waited for it.
    assert 1 <= record["redispatched_samples"] <= 2


def _kill_within_a_volume(results: Path) -> None:
    """Kill instance 0 once it has done some windows of the test."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for staging in results.glob("*/*/.staging-*"):
            try:
                control = ControlBlock.attach(staging.name.removeprefix(".staging-"))
            except ShmError:
                continue
            with control:
                record = control.instance(0)
                before = record.steps
                while control.run_state < RunState.RUNNING:
                    before = record.steps
                    time.sleep(0.002)
                while record.steps == before:
                    assert control.run_state is RunState.RUNNING
                    time.sleep(0.002)
                os.kill(record.pid, 9)
                return
        time.sleep(0.01)
    raise AssertionError("the run did not begin")
