"""Samples of varying shapes and answers of varying length, through real processes to LoadGen's log.

loadrun and netrun are those of every run; the task is `tests/support/ragged.py`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loadrun_harness import PATHS, ROOT, RingRun, make_config
from ragged import BULKIER, BULKY, RAGGED, Sequences, bulk, expected

from loadrun.config import LoadrunConfig, Overrides
from models.samples import Prepared, save
from netrun.config import NetrunConfig
from shm.ring import LARGE, RingGeometry

__all__ = ["make_config"]  # a fixture of this module
NETRUN = ROOT / "tests" / "support" / "ragged_netrun.py"
SCENARIOS = ("SingleStream", "MultiStream", "Server", "Offline")
BRIEF = Overrides(min_duration_s=0.3, min_query_count=20)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    data = Sequences()
    rows = [data.read(i) for i in range(len(data))]
    folder = tmp_path_factory.mktemp("ragged") / "samples"
    return save(folder, data.fields, rows, [data.cost(row) for row in rows])


class NetrunRun(RingRun):
    """A run whose workers are netrun."""

    def words(self, instance: int) -> list[str]:
        """A configuration, which is written."""
        return [str(self.netrun(instance))]

    def netrun(self, instance: int) -> Path:
        config = NetrunConfig(
            run_id=self.config.run_id,
            instance=instance,
            model=self.config.model,
            engine="null",
            precision="int8",
            artifact="",
            batch_size=self.config.batch_size,
            threads=1,
            report=str(self.directory / f"netrun_{instance}.json"),
            warmup_s=0.05,
        )
        path = self.directory / f"netrun_{instance}.config.json"
        path.write_text(config.to_json())
        return path


Make = Callable[..., NetrunRun]


@pytest.fixture
def make_run(
    tmp_path: Path, make_config: Callable[..., LoadrunConfig], samples: Prepared
) -> Iterator[Make]:
    runs: list[NetrunRun] = []

    def make(**changes: Any) -> NetrunRun:
        config = make_config(
            **{
                "model": "ragged",
                "samples": str(samples.path),
                "performance_sample_count": 24,
                "response_bytes": RAGGED.answer_bytes,
                "overrides": BRIEF,
                **changes,
            }
        )
        runs.append(NetrunRun(config, tmp_path, (sys.executable, str(NETRUN))))
        return runs[-1]

    yield make
    for run in runs:
        run.kill()


def logged(run: RingRun) -> dict[int, bytes]:
    """The accuracy log, in which every sample must be once."""
    entries = [(e["qsl_idx"], bytes.fromhex(e["data"])) for e in run.accuracy_log()]
    assert len({index for index, _ in entries}) == len(entries)
    return dict(entries)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_answer_is_logged_byte_for_byte(make_run: Make, scenario: str) -> None:
    """Three performance sets one after the other: the arena is filled anew."""
    run = make_run(scenario=scenario, mode="AccuracyOnly")
    run.run()
    data = Sequences()
    answers = logged(run)
    assert answers == {index: expected(data, index) for index in range(len(data))}
    lengths = {len(answer) for answer in answers.values()}
    assert 0 in lengths
    assert len(lengths) > 10
    assert RAGGED.score(answers, data).line == "exact=100.00%"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_performance_test_is_whole(make_run: Make, scenario: str) -> None:
    overrides = replace(BRIEF, target_qps=100) if scenario == "Server" else BRIEF
    report = make_run(scenario=scenario, overrides=overrides).run()
    assert report["loadgen"]["valid"] is not None
    assert report["loadgen"]["errors"] == []
    assert report["loadgen"]["metric"]["value"] > 0
    assert report["measured_rate"] > 0
    assert sum(instance["samples"] for instance in report["instances"]) >= 20


def test_in_one_process(make_run: Make) -> None:
    run = make_run(scenario="SingleStream", mode="AccuracyOnly", instances=1, batch_size=1)
    path = run.directory / "loadrun.json"
    path.write_text(run.config.to_json())
    command = [sys.executable, str(NETRUN), str(run.netrun(0)), str(path)]
    subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": PATHS}, check=True)
    data = Sequences()
    assert logged(run) == {index: expected(data, index) for index in range(len(data))}


@pytest.mark.parametrize("task", [BULKY, BULKIER], ids=lambda task: task.name)
@pytest.mark.parametrize("scenario", ["Offline", "MultiStream"])
def test_large_answers_come_in_parts(make_run: Make, task: Any, scenario: str) -> None:
    run = make_run(
        model=task.name,
        scenario=scenario,
        mode="AccuracyOnly",
        sample_count=16,
        response_bytes=task.answer_bytes,
        batch_size=8,
    )
    report = run.run()
    assert max(i["samples"] / i["batches"] for i in report["instances"]) > 1
    answers = logged(run)
    assert answers == {i: bulk(task.answer_bytes, i).tobytes() for i in range(16)}
    assert max(map(len, answers.values())) == task.answer_bytes
    assert answers[4] == b""


def test_large_answers_reserve_little() -> None:
    """The choice that `shm.ring` documents."""
    usual = RingGeometry(2, 3, 64, 4)
    assert (usual.payload_capacity, usual.response_slots, usual.in_parts) == (256, 3, False)
    several = RingGeometry(2, 3, 8, BULKY.answer_bytes)
    assert (several.payload_capacity, several.response_slots) == (LARGE, 3)
    volumes = RingGeometry(14, 3, 8, 64 << 20)
    assert (volumes.payload_capacity, volumes.response_slots) == (64 << 20, 1)
    assert volumes.size < 14 * (65 << 20)
