"""Samples that differ in work, from the command line to what instances are sent.

Everything is real but the engine and the task (`tests/support/ragged.py`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cli_process import environment
from ragged import Sequences

from launch.build.assets import CostFacts, DataFacts, SampleFacts
from launch.build.make import cost_facts
from models.samples import Prepared, save
from models.task import Field

SUPPORT = Path(__file__).parents[1] / "support"
BUDGET = 3
PERFORMANCE = 16
MODULE = """
import json, pathlib, sys
import models
models.TASKS["ragged"] = "ragged:RAGGED"

def patch():
    from netrun.engines import null

    file = pathlib.Path(DIRECTORY) / pathlib.Path(sys.orig_argv[-1]).name.replace(
        ".config.json", ".batches"
    )

    answer = null.NullEngine.answer

    def noted(self, batch):
        # The engine sim answers by it, too.
        with file.open("a") as opened:
            opened.write(json.dumps([list(batch.indices), list(batch.costs)]) + "\\n")
        return answer(self, batch)

    null.NullEngine.answer = noted

if "netrun" in sys.orig_argv or "launch.single" in sys.orig_argv:
    patch()
"""


def samples(folder: Path, costs: list[float]) -> Prepared:
    return save(folder, [Field("x", "|u1", ())], [{"x": 0}] * len(costs), costs)  # type: ignore[dict-item]


def test_a_batch_size_is_so_many_mean_samples(tmp_path: Path) -> None:
    facts = cost_facts(samples(tmp_path / "uneven", [1.0, 2.0, 2.0, 3.0]))
    assert facts is not None
    assert (facts.cheapest, facts.longest, facts.quantiles) == (0.5, 1.5, [0.5, 1.0, 1.0, 1.5])
    assert [facts.most_samples(size) for size in (1, 2, 3, 8)] == [1, 4, 6, 16]
    assert CostFacts(0.01, 9.0, []).most_samples(8) == 32
    assert cost_facts(samples(tmp_path / "even", [0.1] * 5)) is None


def test_where_all_cost_the_same_samples_are_counted() -> None:
    even = SampleFacts("s", 3, 0, DataFacts("synthetic", "0", True))
    assert (even.most_samples(8), even.batch_cost(8), even.in_words(8)) == (8, None, [])


class RaggedRun:
    """One `loadrun run` of the task, with the batches of each instance by process."""

    def __init__(self, directory: Path, cache: Path, *words: str) -> None:
        self.directory = directory
        (directory / "modules").mkdir()
        (directory / "modules" / "sitecustomize.py").write_text(
            MODULE.replace("DIRECTORY", repr(str(directory)))
        )
        done = subprocess.run(
            [sys.executable, "-m", "launch.cli", "run", "ragged", *words, "--oversubscribe"],
            cwd=directory,
            env=environment(cache, directory / "modules", SUPPORT),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        # How long it lasts is the machine's affair, and with it the verdict.
        assert done.returncode in (0, 3), done.stdout
        self.output = done.stdout
        (path,) = directory.glob("results/*/ragged/run.json")
        self.record: Mapping[str, Any] = json.loads(path.read_text())

    def batches(self) -> list[list[tuple[list[int], list[float]]]]:
        """(sample indices, costs) of the test's batches, in order, by instance."""
        found = []
        for instance in self.record["instances"]:
            path = self.directory / f"netrun_{instance['instance']}.batches"
            lines = path.read_text().splitlines()
            # Those of the warm-up come before.
            found.append([tuple(json.loads(x)) for x in lines[-instance["batches"] :]])
        return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first run prepares the samples, for all."""
    return tmp_path_factory.mktemp("ragged") / "cache"


def relative() -> list[float]:
    data = Sequences()
    costs = [data.cost(data.read(i)) for i in range(len(data))]
    return [cost / (sum(costs) / len(costs)) for cost in costs]


@pytest.mark.parametrize("engine", ["sim", "null"])
@pytest.mark.parametrize("scenario", ["Offline", "Server", "MultiStream", "SingleStream"])
def test_a_ragged_task_runs(tmp_path: Path, cache: Path, scenario: str, engine: str) -> None:
    words = ["--scenario", scenario, "--engine", engine, "--batch-size", str(BUDGET)]
    # One query after the other ends with the last, however fast the machine is.
    one_by_one = scenario in ("MultiStream", "SingleStream")
    words += ["--count", "60"] if one_by_one else ["--fast", "--time", "0.5"]
    if scenario != "SingleStream":
        words += ["--instances", "2"]
    if scenario == "Server":
        words += ["--max-latency", "100", "--qps", "100"]
    elif (scenario, engine) == ("Offline", "null"):
        words += ["--qps", "1000"]
    run = RaggedRun(tmp_path, cache, *words)
    record, costs = run.record, relative()
    assert record["status"] == "COMPLETE"
    assert record["result"]["errors"] == []
    assert record["deaths"] == []
    most = SampleFacts(
        "", 0, 0, DataFacts("", "", True), CostFacts(min(costs), max(costs), [])
    ).most_samples(BUDGET)
    served = run.batches()
    for indices, seen in (batch for batches in served for batch in batches):
        assert seen == pytest.approx([costs[index] for index in indices])
        assert len(indices) <= most
        assert sum(seen) <= BUDGET + 1e-6 or len(indices) == 1
    if scenario == "Offline":
        for batches in served:
            order = [cost for _, seen in batches for cost in seen]
            assert all(before >= after for before, after in pairwise(order))
        assert max(len(indices) for batches in served for indices, _ in batches) > BUDGET
    if (scenario, engine) == ("Offline", "sim"):
        # The performance set is not the mean one: samples/s alone would be off by that.
        loaded = {index for batches in served for indices, _ in batches for index in indices}
        assert len(loaded) == PERFORMANCE
        mean = sum(costs[index] for index in loaded) / len(loaded)
        rate = record["result"]["metric"]["value"]
        efficiency = mean * rate / record["standalone_rate"]
        assert record["harness_efficiency"] == pytest.approx(efficiency)
    assert "times the mean: a batch has the work of 3 mean ones" in run.output
