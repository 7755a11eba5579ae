"""The benchmarks' own runs: real processes, a fraction of a second each."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.parts.figures import Spread, show
from bench.parts.idle import idle_share
from bench.parts.run import SAMPLES, Workload, run
from loadrun.config import Overrides
from netrun.config import SimulatedService

OVERRIDES = Overrides(min_duration_s=0.3, min_query_count=1, target_qps=300)


@pytest.mark.parametrize("driver", ["loadrun", "bench.parts.null_sut"])
def test_a_server_test_with_and_without_rings(driver: str) -> None:
    before = set(Path("/dev/shm").glob("loadrun.bench*"))
    outcome = run(Workload("Server", instances=2, overrides=OVERRIDES).without_rings(driver))
    assert outcome.report["status"] == "COMPLETE"
    assert outcome.rate > 0
    assert outcome.report["processor_s"] > 0
    assert len(outcome.instances_s) == (2 if driver == "loadrun" else 0)
    assert set(Path("/dev/shm").glob("loadrun.bench*")) == before


@pytest.mark.parametrize("scenario", ["Server", "Offline"])
def test_one_process_stands_for_many_instances(scenario: str) -> None:
    before = set(Path("/dev/shm").glob("loadrun.bench*"))
    workload = Workload(
        scenario, engine="sim", instances=9, batch_size=2, modelled=True, overrides=OVERRIDES
    )
    outcome = run(workload)
    assert outcome.report["status"] == "COMPLETE"
    assert len(outcome.instances_s) == 1
    served = outcome.report["instances"]
    assert len(served) == 9
    assert min(instance["samples"] for instance in served) > 0
    batch_s = sum(x["busy_s"] for x in served) / sum(x["batches"] for x in served)
    longest_s = workload.sim.mean_ms(2) / 1e3
    assert 0.4 * longest_s < batch_s < 1.3 * longest_s, "modelled, whatever the machine does"
    assert set(Path("/dev/shm").glob("loadrun.bench*")) == before


def test_modelled_instances_take_time_by_work() -> None:
    workload = Workload(
        "Offline",
        engine="sim",
        instances=3,
        batch_size=8,
        batch_cost=2.0,
        costs=[(8.0, 1.0, 1.0, 2.0)[i % 4] for i in range(SAMPLES)],  # 8 are 2.67 mean ones
        sim=SimulatedService(base_ms=0.0, sample_ms=1.0, jitter=0.0),
        modelled=True,
        overrides=OVERRIDES,
    )
    outcome = run(workload)
    served = outcome.report["instances"]
    samples = sum(instance["samples"] for instance in served)
    # LoadGen draws in whole permutations or nearly: a sample takes 1 ms on average.
    assert 0.7e-3 < sum(x["busy_s"] for x in served) / samples < 1.3e-3
    assert outcome.report["measured_rate"] == pytest.approx(3 * 1000)
    assert outcome.report["harness_efficiency"] == pytest.approx(outcome.rate / 3000)
    most = max(int(size) for sizes in outcome.report["timeline"]["batch_sizes"] for size in sizes)
    assert most > 2, "cheap samples go together"


def test_the_bare_engine_answers_single_stream() -> None:
    overrides = Overrides(min_duration_s=0.2, min_query_count=1, target_latency_ms=0.1)
    workload = Workload("SingleStream", batch_size=1, overrides=overrides)
    assert run(workload.without_rings("bench.parts.bare")).latency_ms("p90") > 0


def test_a_process_that_fails_ends_the_benchmark_with_its_words() -> None:
    with pytest.raises(SystemExit, match="netrun 0: error"):
        run(Workload("Offline", engine="onednn", instances=1, overrides=OVERRIDES))


def test_idle_instances_are_measured() -> None:
    share = idle_share(1, 0.3)
    assert 0 <= share["percent_mean"] == share["percent_most"]


def test_spread_and_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(1.0, 2.0, 3.0)
    show("Things", ["", "rate"], [["one", Spread.of([1234.5, 1.0, 2.0])], ["two", 5]])
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == "Things (min / median / max)"
    assert printed[4].split("  ")[1:] == ["one", "1 / 2 / 1,234"]
