"""Simulated machines behave as machines do, and the tuner is held against all of their choices."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from base.errors import ConfigError
from bench.simulated.machine import Machine
from bench.simulated.serving import late_share, offline_rate
from bench.tuning import RECORDINGS, Model, Noisy
from launch.machine.recording import Recorded
from launch.machine.topology import read_topology
from launch.tune.space import Choice, Layout
from netrun.config import NetrunConfig, SimulatedService
from netrun.engines.sim import SimulatedEngine

SERVICE = SimulatedService(base_ms=1.0, sample_ms=4.0, jitter=0.0)


def machine(name: str = "nps4", l3_mb: float = 32.0, node_gb_s: float = 48.0) -> Machine:
    return Machine(read_topology(Recorded.load(RECORDINGS / f"{name}.json")), l3_mb, node_gb_s)


def test_wider_instances_answer_sooner_and_serve_less_in_all() -> None:
    plenty = machine(l3_mb=1e4, node_gb_s=1e4)
    one = plenty.service(Layout(64, 1), 8).mean_ms(8)
    eight = plenty.service(Layout(8, 8), 8).mean_ms(8)
    assert one / 8 < eight < one
    across = plenty.service(Layout(4, 16), 8).mean_ms(8)
    assert across > eight * 8 / 16, "meeting across L3 domains costs"


def test_caches_and_memory_are_shared() -> None:
    crowded, alone = (machine().service(Layout(n, 1), 32) for n in (64, 8))
    assert crowded.mean_ms(32) > alone.mean_ms(32)
    wide = machine().service(Layout(16, 4), 32)
    assert wide.mean_ms(32) / 32 > wide.mean_ms(4) / 4, "large batches leave the cache"
    narrow = machine(node_gb_s=10.0).service(Layout(64, 1), 32)
    assert narrow.mean_ms(32) > crowded.mean_ms(32)


def test_dispatch_in_modelled_time_reaches_the_rate_of_busy_instances() -> None:
    rate = offline_rate(SERVICE, 4, 8, "pull", 2, 8 * 4 * 50)
    assert 0.97 * 4 * 8 / 33e-3 < rate <= 4 * 8 / 33e-3
    quick = SimulatedService(base_ms=0.1, sample_ms=0.1, jitter=0.0)
    alone, ahead = (offline_rate(quick, 4, 8, "pull", depth, 16_000) for depth in (1, 2))
    assert alone < ahead, "instances idle between batches"


def test_queries_are_late_at_loads_that_cannot_hold() -> None:
    light = late_share(SERVICE, 4, 4, "pull", 2, 0.03, 100.0, 400, 1)
    heavy = late_share(SERVICE, 4, 4, "pull", 2, 0.03, 2000.0, 400, 1)
    assert (light, heavy > 0.5) == (0.0, True)


@pytest.mark.parametrize("scenario", ["Offline", "Server"])
def test_the_tuner_sees_the_truth_with_noise(scenario: str) -> None:
    model = Model(machine("desktop"), scenario)
    choice = Choice(Layout(2, 4), 4, "pull", 2)
    noisy = Noisy(model, 0.02, random.Random(1))
    seen = [noisy.measure(choice, long=True, goal=None) for _ in range(20)]
    assert len(set(seen)) == 20
    assert sum(seen) / 20 == pytest.approx(model.truth(choice), rel=0.02)


def test_the_sim_engine_waits_a_table_of_times(tmp_path: Path) -> None:
    service = SimulatedService(jitter=0.0, batch_ms=(2.0, 3.0, 7.0))
    assert [service.mean_ms(b) for b in (1, 3, 4, 5)] == [2.0, 7.0, 11.0, 15.0]
    assert SimulatedEngine(3, service, seed=1).service_s(2) == pytest.approx(3e-3)
    config = NetrunConfig("a", 0, "m", "sim", "int8", "", 3, 1, "r", sim=service)
    assert NetrunConfig.from_json(config.to_json()) == config
    with pytest.raises(ConfigError, match="negative"):
        SimulatedService(batch_ms=(1.0, -1.0))
