"""What a command writes at its end is tried before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.errors import InputError
from launch.cli import main
from launch.options import Sources
from launch.outcome.results import Staging
from launch.outcome.writable import try_file, try_folder
from launch.qps.find import QpsOptions, find_qps
from launch.qps.section import BEGIN


def contents(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_what_can_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    before = contents(tmp_path)
    try_file(tmp_path / "new.json", "--json", "cure")
    try_file(tmp_path / "not" / "yet" / "new.json", "--json", "cure")
    try_folder(tmp_path / "not" / "yet", "submission", "cure")
    assert contents(tmp_path) == before
    file = tmp_path / "there.json"
    file.write_text("kept")
    try_file(file, "--json", "cure")
    assert file.read_text() == "kept"
    assert contents(tmp_path) == [file]


@pytest.mark.parametrize(
    ("path", "makes_folders", "expected"),
    [
        ("folder", True, "folder: is a directory"),
        ("file/below", True, "file: is no directory"),
        ("none/below", False, "none is no directory"),
        ("x" * 255, True, "File name too long"),
    ],
)
def test_what_cannot_be_written_is_refused_with_the_cure(
    tmp_path: Path, path: str, makes_folders: bool, expected: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=rf"^--json .*{expected} \(cure\)$"):
        try_file(tmp_path / path, "--json", "cure", makes_folders=makes_folders)


def test_a_mount_point_is_no_place_for_a_folder() -> None:
    with pytest.raises(InputError, match=r"/proc: is a mount point .* \(cure\)"):
        try_folder(Path("/proc"), "submission", "cure")


@pytest.mark.parametrize(
    ("conf", "results", "keep", "expected"),
    [
        ("/proc/user.conf", "{here}/results", True, r"user\.conf /proc/user\.conf: .*--dry-run"),
        ("{here}/user.conf", "/proc/results", True, "results directory /proc/results.*--results"),
        ("/proc/user.conf", "/proc/results", False, "results directory /proc/results.*--results"),
    ],
)
def test_find_qps_looks_before_it_searches(
    tmp_path: Path, conf: str, results: str, keep: bool, expected: str
) -> None:
    options = QpsOptions(
        model="resnet50",
        conf="resnet50",
        sources=Sources(None, None, None, None),
        words=("--engine=sim",),
        durations=(1.0,),
        precision=0.1,
        start=None,
        loadgen=False,
        user_conf=Path(conf.format(here=tmp_path)),
        keep=keep,
        results=Path(results.format(here=tmp_path)),
    )
    with pytest.raises(InputError, match=expected):
        find_qps(options)
    assert contents(tmp_path) == []


def test_a_section_that_cannot_be_changed_is_refused_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user.conf").write_text(f"{BEGIN}\nresnet50.Server.target_qps = 1\n")
    assert main(["find-qps", "resnet50", "--engine", "sim"]) == 2
    assert "is missing behind" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_run_looks_at_the_places_of_its_results(tmp_path: Path) -> None:
    home = tmp_path / "offline" / "resnet50"
    (home / "run.json").mkdir(parents=True)
    with (
        pytest.raises(InputError, match=r"run\.json: is a directory \(choose another"),
        Staging(tmp_path, "run1", "Offline", "resnet50") as staging,
    ):
        staging.try_places("PerformanceOnly", None)
    assert contents(home) == [home / "run.json"]
    with Staging(tmp_path, "run1", "Offline", "resnet50") as staging:
        staging.try_places("PerformanceOnly", "TEST01")
        assert contents(home) == [staging.path, home / "run.json"]
    (home / "run.json").rmdir()
    (home / "performance").write_text("in the way")
    with (
        pytest.raises(InputError, match=r"performance: is no directory"),
        Staging(tmp_path, "run1", "Offline", "resnet50") as staging,
    ):
        staging.try_places("SubmissionRun", None)


@pytest.mark.parametrize(
    "words",
    [
        ["roofline", "resnet50", "--json", "{folder}"],
        ["report", "--out", "{folder}"],
        ["report", "--out", "{folder}/none/index.html"],
        ["topology", "--record", "{folder}"],
        ["doctor", "--system", "{folder}/none/my.json"],
    ],
    ids=" ".join,
)
def test_other_commands_refuse_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([word.format(folder=tmp_path) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("loadrun: error: ")
    assert error.count("\n") == 1
