"""Where results land, and that they land whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from launch.errors import InputError
from launch.results import UNWRITTEN_S, Staging, file_abandoned, write_json

EMPTY_ACCURACY_LOG = "[\n]\n"


def fill(staging: Staging, accuracy_log: str = EMPTY_ACCURACY_LOG) -> None:
    (staging.path / "mlperf_log_summary.txt").write_text(f"summary of {staging.run_id}\n")
    (staging.path / "mlperf_log_detail.txt").write_text("detail\n")
    (staging.path / "mlperf_log_accuracy.json").write_text(accuracy_log)
    staging.write_record({"run_id": staging.run_id})


def publish(results: Path, run_id: str, mode: str, audit: str | None = None) -> list[Path]:
    log = '[\n{"qsl_idx": 0}\n]\n' if mode != "PerformanceOnly" else EMPTY_ACCURACY_LOG
    with Staging(results, run_id, "Offline", "resnet50") as staging:
        fill(staging, log)
        return staging.publish(mode, audit)


@pytest.mark.parametrize(
    ("mode", "places"),
    [
        ("PerformanceOnly", ["performance/run_1"]),
        ("AccuracyOnly", ["accuracy"]),
        ("SubmissionRun", ["performance/run_1", "accuracy"]),
        ("FindPeakPerformance", ["findpeak"]),
    ],
)
def test_places_of_each_mode(tmp_path: Path, mode: str, places: list[str]) -> None:
    home = tmp_path / "offline/resnet50"
    assert publish(tmp_path, "aaaa1", mode) == [home / place for place in places]
    for place in places:
        assert (home / place / "mlperf_log_summary.txt").exists()
        assert json.loads((home / place / "run.json").read_text()) == {"run_id": "aaaa1"}
    assert (home / "mlperf_log_summary.txt").read_text() == "summary of aaaa1\n"
    assert not [p for p in home.iterdir() if p.name.startswith(".")]


def test_a_new_run_takes_the_place_of_the_last(tmp_path: Path) -> None:
    publish(tmp_path, "aaaa1", "PerformanceOnly")
    (place,) = publish(tmp_path, "bbbb2", "PerformanceOnly")
    assert (place / "mlperf_log_summary.txt").read_text() == "summary of bbbb2\n"
    assert sorted(p.name for p in place.parent.iterdir()) == ["run_1"]


def test_a_performance_run_leaves_the_last_accuracy_log(tmp_path: Path) -> None:
    publish(tmp_path, "aaaa1", "AccuracyOnly")
    publish(tmp_path, "bbbb2", "PerformanceOnly")
    home = tmp_path / "offline/resnet50"
    assert "qsl_idx" in (home / "mlperf_log_accuracy.json").read_text()
    assert (home / "mlperf_log_summary.txt").read_text() == "summary of bbbb2\n"


def test_an_audit_has_its_own_place(tmp_path: Path) -> None:
    publish(tmp_path, "aaaa1", "PerformanceOnly")
    (place,) = publish(tmp_path, "bbbb2", "PerformanceOnly", "TEST01")
    home = tmp_path / "offline/resnet50"
    assert place == home / "TEST01/performance/run_1"
    assert (home / "mlperf_log_summary.txt").read_text() == "summary of aaaa1\n"


def test_a_failed_run_keeps_its_logs_apart(tmp_path: Path) -> None:
    with Staging(tmp_path, "cccc3", "Server", "mobilenet") as staging:
        fill(staging)
        place = staging.keep_failed()
    assert place == tmp_path / "server/mobilenet/failed/cccc3"
    assert (place / "run.json").exists()
    assert not (tmp_path / "server/mobilenet/mlperf_log_summary.txt").exists()


def test_refused_input_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError), Staging(tmp_path / "r", "dddd4", "Offline", "resnet50"):
        raise InputError("wrong weights")
    assert not (tmp_path / "r").exists()


def test_results_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="--results"),
        Staging(tmp_path / "file", "dddd4", "Offline", "resnet50"),
    ):
        pass


def test_what_a_killed_run_left_is_filed(tmp_path: Path) -> None:
    with Staging(tmp_path, "eeee5", "Offline", "resnet50") as living:
        fill(living)
        dead = tmp_path / "offline/resnet50/.staging-ffff6"
        dead.mkdir()
        write_json(dead / "run.json", {"status": "INTERRUPTED"})
        assert file_abandoned(tmp_path) == [tmp_path / "offline/resnet50/failed/ffff6"]
        assert living.path.exists()
    assert file_abandoned(tmp_path) == []


def test_a_staging_directory_without_a_record_may_be_a_run_that_starts(tmp_path: Path) -> None:
    young = tmp_path / "offline/resnet50/.staging-aaaa1"
    old = tmp_path / "offline/resnet50/.staging-bbbb2"
    for directory in (young, old):
        directory.mkdir(parents=True)
    past = old.stat().st_mtime - 2 * UNWRITTEN_S
    os.utime(old, (past, past))
    assert file_abandoned(tmp_path) == []
    assert young.exists()
    assert not old.exists()
