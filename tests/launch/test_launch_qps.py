"""The search for the highest rate, and the section of user.conf that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import record, result

from base.errors import InputError
from launch.cli import main
from launch.outcome.record.run import Record
from launch.qps.search import Stopped, search_peak
from launch.qps.section import BEGIN, END, overridden, with_setting, write_setting
from loadrun.user_conf import parse_user_conf

KEY = "resnet50.Server.target_qps"


@settings(deadline=None)
@given(
    st.floats(1, 1e4),
    st.floats(0.05, 20),
    st.floats(0.8, 1.0),
    st.sampled_from([0.01, 0.02, 0.05]),
)
def test_the_peak_is_the_highest_rate_that_holds_longest(
    truth: float, off: float, honest: float, precision: float
) -> None:
    # Short tests are optimistic: at full length only `honest` of what they allow holds.
    limits = {10.0: truth, 60.0: truth * (1 + honest) / 2, 600.0: truth * honest}
    peak = search_peak(
        lambda qps, seconds: qps <= limits[seconds],
        truth * off,
        durations=(10.0, 60.0, 600.0),
        precision=precision,
        most=200,
    )
    assert peak.complete
    assert peak.qps is not None
    assert limits[600.0] / (1 + precision) ** 2 <= peak.qps <= limits[600.0]
    assert peak.bound is None or peak.qps < peak.bound <= peak.qps * (1 + 2 * precision)
    final = [a for a in peak.attempts if a.seconds == 600.0]
    assert final[-1].valid
    assert final[-1].qps == peak.qps


def test_long_tests_come_last_and_are_few() -> None:
    peak = search_peak(lambda qps, _: qps <= 100, 50, durations=(1, 2, 3), precision=0.02)
    assert [a.seconds for a in peak.attempts] == sorted(a.seconds for a in peak.attempts)
    assert sum(a.seconds > 1 for a in peak.attempts) == 2


def test_no_rate_holds() -> None:
    peak = search_peak(
        lambda qps, _: False, 100, durations=(1, 2), precision=0.02, growth=2, least=10
    )
    assert (peak.qps, peak.complete) == (None, True)
    assert [a.qps for a in peak.attempts] == [100, 50, 25, 12.5]


def test_a_search_that_is_stopped_claims_only_what_held_longest() -> None:
    def holds(qps: float, seconds: float) -> bool:
        if seconds > 1:
            raise Stopped
        return qps <= 100

    peak = search_peak(holds, 50, durations=(1, 2), precision=0.02)
    assert (peak.qps, peak.complete) == (None, False)
    assert peak.attempts


def test_the_number_of_tests_is_bounded() -> None:
    peak = search_peak(lambda qps, _: True, 1, durations=(1,), precision=0.02, most=5)
    assert len(peak.attempts) == 5
    assert peak.qps == 1.5**4


@pytest.mark.parametrize("bad", [{"start": 0.0}, {"growth": 1.0}, {"precision": 0.0}])
def test_settings_that_cannot_work(bad: dict[str, float]) -> None:
    settings_ = {"start": 1.0, "growth": 1.5, "precision": 0.02, **bad}
    start = settings_.pop("start")
    with pytest.raises(ValueError, match="must be above"):
        search_peak(lambda qps, _: True, start, durations=(1,), **settings_)  # type: ignore[arg-type]


USERS = "# mine\n*.Server.min_duration = 60000\nresnet50.Server.target_qps = 7\n"


def test_the_section_comes_last_and_wins(tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    path.write_text(USERS)
    assert write_setting(path, KEY, "42.5", "held for 60 s") == [3]
    assert path.read_text().startswith(USERS)
    entry = parse_user_conf(path).get("resnet50", "Server", "target_qps")
    assert entry is not None
    assert entry.value == 42.5


def test_a_later_result_replaces_the_earlier_and_keeps_other_models(tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    write_setting(path, KEY, "40", "first")
    write_setting(path, "mobilenet.Server.target_qps", "300", "other")
    # The user goes on below the section.
    path.write_text(path.read_text() + "*.Offline.min_query_count = 1\n")
    write_setting(path, KEY, "41", "second")
    text = path.read_text()
    assert text.splitlines() == [
        "*.Offline.min_query_count = 1",
        BEGIN,
        "# other",
        "mobilenet.Server.target_qps = 300",
        "# second",
        f"{KEY} = 41",
        END,
    ]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["# note", "", "*.*.min_duration = 1", f"{KEY} = 3"])))
def test_the_users_lines_stay(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    once = with_setting(text, KEY, "5", "a")
    twice = with_setting(once, KEY, "6", "b")
    assert once.startswith(text)
    assert twice == with_setting(text, KEY, "6", "b")
    wanted = [n for n, line in enumerate(lines, 1) if line == f"{KEY} = 3"]
    assert overridden(text, KEY) == overridden(once, KEY) == wanted


def test_links_and_permissions_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.conf", tmp_path / "user.conf"
    real.write_text(USERS)
    real.chmod(0o640)
    link.symlink_to(real)
    write_setting(link, KEY, "5", "a")
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert f"{KEY} = 5" in real.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["real.conf", "user.conf"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [(f"{BEGIN}\n{KEY} = 1\n", "end of tuned"), ("resnet50.Server.target_qp = 1\n", "user.conf:1")],
)
def test_a_file_that_cannot_be_changed_stays(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "user.conf"
    path.write_text(text)
    with pytest.raises(InputError, match=expected):
        write_setting(path, KEY, "5", "a")
    assert path.read_text() == text


class Sut:
    """Stands for runs: rates up to `limit` hold, less by a tenth at full length."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.words: list[list[str]] = []

    def run_once(
        self,
        model: str,
        scenario: str,
        words: list[str],
        directory: Path,
        signals: object,
        mode: str = "PerformanceOnly",
    ) -> Record:
        self.words.append(list(words))
        given = {w.split("=")[0]: w.split("=")[-1] for w in words}
        qps = float(given.get("--qps", 80.0))
        within = qps <= (self.limit if float(given["--time"]) < 60 else 0.9 * self.limit)
        return record(
            settings={"server_target_qps": qps},
            result=result(
                # Short tests are never VALID: too few queries for early stopping.
                valid=within and float(given["--time"]) >= 60,
                fields={"result_perf_constraints_met": within},
                latencies_ns={"p99": 1e6},
                metric={"name": "completed samples", "value": 97.0, "unit": "samples/s"},
            ),
        )


@pytest.fixture
def sut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sut:
    sut = Sut(100.0)
    monkeypatch.setattr("launch.qps.find.run_once", sut.run_once)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user.conf").write_text(USERS)
    return sut


def test_find_qps_writes_what_held_at_full_length(sut: Sut, tmp_path: Path) -> None:
    assert main(["find-qps", "resnet50", "--durations", "5", "60", "--batch-size", "4"]) == 0
    entry = parse_user_conf(tmp_path / "user.conf").get("resnet50", "Server", "target_qps")
    assert entry is not None
    assert 0.9 * 100 / 1.02**2 - 0.1 <= entry.value <= 90.0
    assert (tmp_path / "user.conf").read_text().startswith(USERS)
    assert all("--batch-size=4" in words for words in sut.words)
    assert not any(word.startswith("--qps") for word in sut.words[0])


def test_find_qps_dry_run_and_loadgens_search(sut: Sut, tmp_path: Path) -> None:
    words = ["find-qps", "resnet50", "--loadgen", "--durations", "5", "60", "--dry-run"]
    assert main(words) == 0
    assert (tmp_path / "user.conf").read_text() == USERS
    found = json.loads((tmp_path / "results/find-qps/resnet50/find-qps.json").read_text())
    assert found["qps"] == pytest.approx(90, rel=0.03)


def test_find_qps_without_any_valid_rate(sut: Sut, tmp_path: Path) -> None:
    sut.limit = 1.0
    assert main(["find-qps", "resnet50", "--durations", "5", "60"]) == 3
    assert (tmp_path / "user.conf").read_text() == USERS


def test_find_qps_refuses_a_user_conf_that_runs_would_refuse(
    sut: Sut, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "user.conf").write_text("resnet50.Server.target_qp = 1\n")
    assert main(["find-qps", "resnet50"]) == 2
    assert "user.conf:1" in capsys.readouterr().err
    assert sut.words == []
