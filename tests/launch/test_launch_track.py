"""Results to experiment trackers: what is sent, and that nothing is unless it is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import records
from cli_process import environment

from base.errors import InputError
from launch.outcome.record.run import Record
from launch.outcome.track import Tracker, facts, figures, parse_track, track
from launch.supervise.environment import PACKAGE_ROOT

SUPPORT = PACKAGE_ROOT / "tests" / "support"


def finished(**changes: Any) -> Record:
    return Record.from_json({**records.run_json(status="COMPLETE"), **changes})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tensorboard:x", "give mlflow:URI or wandb:PROJECT"),
        ("mlflow", "where to"),
        ("mlflow:", "where to"),
        ("mlflow:https://me:secret@host", "a password does not belong into a URI"),
    ],
)
def test_a_tracker_that_is_none(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_track(text)


def test_a_tracker_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'loadrun\[wandb\]'"):
        parse_track("wandb:project")


def test_a_tracker_and_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert parse_track("mlflow:http://host:5000") == Tracker("mlflow", "http://host:5000")
    assert parse_track("wandb") == Tracker("wandb", "loadrun")


def test_figures_are_numbers_and_facts_have_names() -> None:
    record = finished(accuracy=records.accuracy(), result=records.result(valid=True))
    found = figures(record)
    assert found["valid"] == 1.0
    assert any(name.startswith("latency_p") for name in found)
    assert "accuracy" in found
    assert all(isinstance(value, float) for value in found.values())
    assert facts(record)["scenario"] == record.options.scenario
    assert figures(finished(result=records.result(valid=None))).keys() >= {"latency_p50_ms"}


class Fake(types.ModuleType):
    """Stands for a tracker's package: notes what it was asked."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.noted: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.info, self.id, self.dir = types.SimpleNamespace(run_id="r1"), "r1", "d"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*words: Any, **named: Any) -> Fake:
            self.noted.append((name, words, named))
            return self

        return call

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *exc: object) -> None:
        self.noted.append(("exit", exc, {}))


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        (
            "mlflow",
            "set_tracking_uri set_experiment start_run log_params log_metrics log_artifact exit",
        ),
        ("wandb", "init log save exit"),
    ],
)
def test_what_a_tracker_gets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, calls: str
) -> None:
    fake = Fake(name)
    monkeypatch.setitem(sys.modules, name, fake)
    (tmp_path / "run.json").write_text("{}")
    said = track(Tracker(name, "place"), finished(), tmp_path)
    assert [call for call, _, _ in fake.noted] == calls.split()
    assert "r1" in said
    assert "place" in said


def test_a_tracker_that_fails_costs_no_result(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import models\nmodels.TASKS['toy'] = 'toys:TOY'\n")
    (tmp_path / "mlflow.py").write_text("def set_tracking_uri(uri):\n    raise OSError('no way')\n")
    words = ["run", "toy", "--engine=sim", "--count=4", "--instances=1", "--track=mlflow:x"]
    done = subprocess.run(
        [sys.executable, "-m", "launch.cli", *words],
        cwd=tmp_path,
        env=environment(tmp_path / "cache", tmp_path, SUPPORT),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "note: --track mlflow: not sent: no way" in done.stdout
    record = json.loads(
        (tmp_path / "results/offline/toy-99/performance/run_1/run.json").read_text()
    )
    assert record["status"] == "COMPLETE"
