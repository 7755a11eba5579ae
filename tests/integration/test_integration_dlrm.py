"""DLRM's whole way on real rows: int8 against fp32, both forms of the log, a build gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from integration_run import SHARED_DATA, command, loadrun

SMALL = SHARED_DATA / "weights/small/dlrm_small.pt"
pytestmark = pytest.mark.skipif(
    not SMALL.is_file(), reason=f"no small DLRM in {SHARED_DATA} (set LOADRUN_SHARED_DATA)"
)
FP32 = 71.056
REAL = ["--weights", str(SMALL), "--data", str(SHARED_DATA / "criteo/criteo_dev.tsv.gz"),
        "--calibration", str(SHARED_DATA / "criteo/criteo_train.tsv.gz")]  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def logged(folder: Path) -> dict[int, np.ndarray]:
    (path,) = folder.glob("results/*/*/accuracy/mlperf_log_accuracy.json")
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {e["qsl_idx"]: np.frombuffer(bytes.fromhex(e["data"]), "<f4") for e in entries}


def test_int8_ranks_real_pairs_as_fp32_does(cache: Path, tmp_path: Path) -> None:
    words = ["dlrm-99.9", "--mode", "AccuracyOnly", *REAL]
    plain = loadrun(cache, tmp_path / "plain", *words)
    assert plain.code == 0, plain.output
    assert 100 * plain.record["accuracy"]["value"] >= 0.999 * FP32
    assert "good=316, total=409, queries=3" in plain.output
    trace = tmp_path / "trace.txt"
    both = loadrun(
        cache,
        tmp_path / "both",
        *words,
        *("--instances", "1", "--targets-in-log", "--samples-to-aggregate-trace-file", str(trace)),
    )
    assert both.code == 0, both.output
    line = next(line for line in plain.output.splitlines() if line.startswith("AUC="))
    assert line in both.output
    alone, with_targets = logged(tmp_path / "plain"), logged(tmp_path / "both")
    counts = [int(row.split(", ")[2]) for row in trace.read_text().splitlines()]
    assert [len(alone[i]) for i in range(3)] == counts
    assert all((with_targets[i][::2] == alone[i]).all() for i in alone)
    assert {float(v) for i in alone for v in with_targets[i][1::2]} == {0.0, 1.0}
    log = next((tmp_path / "both").glob("results/*/*/accuracy/mlperf_log_accuracy.json"))
    scored = command(cache, tmp_path, "accuracy", str(log), "--task", "dlrm", *REAL[:4])
    assert line in scored.stdout


def test_fp32_in_eager_pytorch_is_the_reference(cache: Path, tmp_path: Path) -> None:
    done = loadrun(
        cache,
        tmp_path,
        *("dlrm", "--mode", "AccuracyOnly", "--precision", "fp32", "--instances", "1"),
        *("--samples-to-aggregate-fix", "150", *REAL),
    )
    assert done.code == 0, done.output
    assert "AUC=71.056%, accuracy=77.262%, good=316, total=409, queries=3" in done.output


def test_what_does_not_fit_is_one_line(cache: Path, tmp_path: Path) -> None:
    wrong = command(cache, tmp_path, "run", "dlrm-v2", "--mode", "AccuracyOnly", *REAL)
    assert wrong.returncode == 2
    assert "weights of DLRM, not of DLRM-v2" in wrong.stdout
    lone = command(cache, tmp_path, "run", "dlrm", *REAL[2:4])
    assert lone.returncode == 2
    assert "need the weights they are for: give --weights" in lone.stdout
