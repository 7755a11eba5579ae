"""Dispatch of samples whose work differs as BERT's, RNN-T's and DLRM's does, in modelled time.

A machine of 112 cores serves as fast as published: the samples/s per core of 2 Xeon 8480+ (AMX) in
MLPerf v3.0, Offline. A batch takes a time of its own, whatever it holds (weights are read, kernels
started), as long as `--base` mean samples take; the rest goes by its work. Batches are those of the
published submissions: 1,300 tokens, 16,000 pairs; for RNN-T 16 mean utterances.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any

from bench.parts.figures import show, write_json
from bench.simulated.serving import Plant, Served, offline, server
from loadrun.dispatch.policies import NAMES
from loadrun.scenarios import SCENARIOS
from models.distributions import CRITEO_PAIRS, LIBRISPEECH_SECONDS, SQUAD_TOKENS, Distribution
from netrun.config import SimulatedService

CORES = 112
SET = 4000
"""Samples that queries draw from."""
JITTER = 0.03
MOST = 4
"""A batch may hold so many times the samples that its work is worth: cheap ones are many."""
LATE = 0.01


@dataclass(frozen=True)
class Workload:
    """A model: what its samples cost, Server's limit, Offline's rate, the work of a batch."""

    costs: Distribution
    limit_s: float
    core_rate: float
    batch: float

    def plant(self, instances: int, base: float, longest: float, seed: int) -> Plant:
        """The machine, which reaches `core_rate` on every core in full batches.

        `base` and `longest` are times in mean samples: of any batch, and of a batch whose longest
        sample is a mean one.
        """
        most = self.batch / self.costs.mean
        full_ms = 1e3 * most * instances / (CORES * self.core_rate)
        sample_ms = full_ms / (most + base + longest)
        drawn = self.costs.draw(SET, seed)
        return Plant(
            SimulatedService(base * sample_ms, sample_ms, JITTER, longest_ms=longest * sample_ms),
            instances,
            batch_size=int(MOST * most),
            costs=(drawn / drawn.mean()).tolist(),
            batch_cost=most,
        )


WORKLOADS = {
    "bert": Workload(SQUAD_TOKENS, 0.130, 12.3, 1300),
    "rnnt": Workload(LIBRISPEECH_SECONDS, 1.0, 52.0, 100),
    "dlrm": Workload(CRITEO_PAIRS, 0.030, 1254.0, 16_000),
}


def add_options(arguments: argparse.ArgumentParser) -> None:
    """Add what a study of a distribution has for options."""
    arguments.add_argument("--queries", type=int, default=60_000, help="of a Server test")
    arguments.add_argument(
        "--base", type=float, default=0.25, help="time of any batch, in mean samples; default 0.25"
    )
    arguments.add_argument("--batch", type=float, help="work of a batch, in tokens and the like")
    arguments.add_argument(
        "--longest", type=float, default=0.0, help="and of its longest sample; default 0"
    )


def study(options: argparse.Namespace) -> None:
    """Simulate, print, write."""
    workload = WORKLOADS[options.distribution]
    if options.batch:
        workload = replace(workload, batch=options.batch)
    rounds: list[dict[str, Any]] = []
    for instances in options.instances or (28, 56):
        rounds += compare(
            *(workload, instances, options.shares or [0.9], options.queries),
            *(options.base, options.longest),
        )
    write_json(options.json, rounds)
    rows = [
        [
            f"{row['instances']} instances, {row['policy']}",
            row["offline"],
            f"{100 * row['busy']:.1f}%",
            row["tail_ms"],
            f"{row['share']:g}",
            f"{100 * row['late']:.2f}%{'' if row['late'] <= LATE else ' INVALID'}",
            row["p50_ms"],
            row["p99_ms"],
            row["mean_work"],
        ]
        for row in rounds
    ]
    columns = ["", "Offline samples/s", "busy", "tail, ms", "Server / Offline", "late"]
    columns += ["p50 ms", "p99 ms", "work of a batch"]
    title = f"{options.distribution}: {workload.costs.unit} of mean {workload.costs.mean:.1f}"
    show(f"{title}, limit {1e3 * workload.limit_s:g} ms, modelled time", columns, rows)


def compare(
    workload: Workload,
    instances: int,
    shares: list[float],
    queries: int,
    base: float,
    longest: float,
) -> list[dict[str, Any]]:
    """Return what each policy, and the default one by number of samples, makes of a workload.

    All serve at parts of the rate that Offline's default reaches.
    """
    plant = workload.plant(instances, base, longest, seed=1)
    samples = max(SET, int(instances * workload.batch / workload.costs.mean * 40))
    default = replace(plant, policy=SCENARIOS["Offline"].policy)
    reference = offline(default, samples).rate
    # As a user would who knows of no costs: batches of as many mean samples.
    size = max(1, int(workload.batch / workload.costs.mean))
    plants = {policy: replace(plant, policy=policy) for policy in NAMES}
    plants["pull, by number"] = replace(plant, batch_size=size, counts=True)
    rows = []
    for policy, chosen in plants.items():
        ended = offline(chosen, samples)
        for share in shares:
            served = server(chosen, workload.limit_s, share * reference, queries)
            rows.append(
                {
                    "instances": instances,
                    "policy": policy,
                    "offline": ended.rate,
                    "busy": sum(ended.busy_s) / instances / ended.seconds,
                    "tail_ms": 1e3 * (max(ended.busy_s) - min(ended.busy_s)),
                    "share": share,
                    **_latencies(served, workload.limit_s),
                }
            )
    return rows


def _latencies(served: Served, limit_s: float) -> dict[str, float]:
    return {
        "late": served.late_share(limit_s),
        "p50_ms": 1e3 * served.latency_s(0.5),
        "p99_ms": 1e3 * served.latency_s(0.99),
        "mean_work": served.samples / served.batches,
    }
