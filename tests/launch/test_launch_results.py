"""Where results land, and that they land whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from base.errors import InputError
from launch.outcome.results import UNWRITTEN_S, Staging, file_abandoned, write_json
from launch.supervise.environment import PACKAGE_ROOT

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


@pytest.mark.parametrize("mode", ["PerformanceOnly", "SubmissionRun"])
def test_a_complete_run_killed_while_publishing_is_published(tmp_path: Path, mode: str) -> None:
    publish(tmp_path, "aaaa1", mode)
    home = tmp_path / "offline/resnet50"
    dead = home / ".staging-bbbb2"
    dead.mkdir()
    (dead / "mlperf_log_summary.txt").write_text("summary of bbbb2\n")
    write_json(dead / "run.json", {"status": "COMPLETE", "mode": mode, "audit": None})
    # It had moved the last result away and not yet taken its place.
    (home / "performance/run_1").rename(home / "performance/.run_1.old-77")
    places = file_abandoned(tmp_path)
    assert places[0] == home / "performance/run_1"
    for place in places:
        assert (place / "mlperf_log_summary.txt").read_text() == "summary of bbbb2\n"
    assert (home / "mlperf_log_summary.txt").read_text() == "summary of bbbb2\n"
    assert not [p for p in home.glob("**/*") if p.name.startswith(".")]


def test_the_last_result_comes_back_when_its_successor_did_not_complete(tmp_path: Path) -> None:
    (place,) = publish(tmp_path, "aaaa1", "PerformanceOnly", "TEST01")
    place.rename(place.parent / ".run_1.old-77")
    assert file_abandoned(tmp_path) == []
    assert (place / "mlperf_log_summary.txt").read_text() == "summary of aaaa1\n"


@pytest.mark.parametrize(
    "record",
    [
        "",
        "{",
        "[]",
        "null",
        '{"status": "COMPLETE"}',
        '{"status": "COMPLETE", "mode": "../../..", "audit": null}',
        '{"status": "COMPLETE", "mode": ["PerformanceOnly"], "audit": null}',
        '{"status": "COMPLETE", "mode": "PerformanceOnly", "audit": "../x"}',
        "[" * 100_000,
        '{"status": "\ud800"}',
    ],
)
def test_a_record_that_is_damaged_or_hostile_is_a_failed_run(tmp_path: Path, record: str) -> None:
    dead = tmp_path / "offline/resnet50/.staging-ffff6"
    dead.mkdir(parents=True)
    (dead / "run.json").write_text(record, errors="surrogatepass")
    assert file_abandoned(tmp_path) == [tmp_path / "offline/resnet50/failed/ffff6"]


PUBLISH = """
import sys
from pathlib import Path
from launch.outcome.results import Staging, file_abandoned
results, name = Path(sys.argv[1]), sys.argv[2]
for number in range(40):
    with Staging(results, f"{name}{number:03}", "Offline", "resnet50") as staging:
        for log in ("mlperf_log_summary.txt", "mlperf_log_detail.txt"):
            (staging.path / log).write_text(f"{name}{number:03}")
        staging.write_record({"status": "COMPLETE", "mode": "SubmissionRun", "audit": None})
        staging.publish("SubmissionRun", None)
    assert file_abandoned(results) == []
"""


def test_two_runs_that_end_together_do_not_meet(tmp_path: Path) -> None:
    words = [sys.executable, "-c", PUBLISH, str(tmp_path)]
    runs = [subprocess.Popen([*words, name], cwd=PACKAGE_ROOT) for name in ("aaaa", "bbbb")]
    assert [run.wait(60) for run in runs] == [0, 0]
    home = tmp_path / "offline/resnet50"
    for place in (home / "accuracy", home / "performance/run_1"):
        summary, detail = (
            (place / f"mlperf_log_{log}.txt").read_text() for log in ("summary", "detail")
        )
        assert summary == detail
    assert not [p for p in home.glob("**/*") if p.name.startswith(".")]


@pytest.fixture
def results() -> Iterator[Path]:
    """A folder that every user may look into, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_what_another_user_left_is_left_alone(results: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to be someone else")
    dead = results / "offline/resnet50/.staging-ffff6"
    dead.mkdir(parents=True)
    write_json(dead / "run.json", {"status": "INTERRUPTED"})
    code = (
        "import os, sys; from pathlib import Path; "
        "from launch.outcome.results import file_abandoned\n"
        "os.setuid(65534); print(file_abandoned(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(results)],
        cwd=PACKAGE_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert dead.exists()
