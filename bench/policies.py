"""``python -m bench.policies``: the dispatch policies on the same tests, round by round.

Engine sim, one process for all instances: Offline with its tail (how long instances idle at the
end, in batches), and Server at one rate. What sorting costs and gains is in `bench.offline` and
`loadrun run --no-sort-samples`.

``--distribution bert|rnnt|dlrm``: the same on samples whose work differs as that model's does, at
its latency limit and in modelled time (`bench.simulated.costs`).
"""

from __future__ import annotations

import argparse
from typing import Any

from bench.parts.figures import show, spread, write_json
from bench.parts.options import parser
from bench.parts.run import Outcome, Workload, run
from bench.simulated import costs
from loadrun.config import Overrides
from loadrun.dispatch.policies import NAMES

BATCH = 8
BATCH_S = 0.4e-3 + BATCH * 4.3e-3


def main() -> None:
    """Measure, print, write."""
    arguments = parser(__doc__, rounds=3, seconds=4.0)
    arguments.add_argument(
        "--distribution", choices=("equal", *costs.WORKLOADS), default="equal", help="of the work"
    )
    arguments.add_argument(
        "--instances", nargs="+", type=int, help="default 14; with a distribution 28 and 56"
    )
    arguments.add_argument(
        "--shares", nargs="+", type=float, help="Server's parts of the (Offline) rate; default 0.8"
    )
    costs.add_options(arguments)
    options = arguments.parse_args()
    if options.distribution != "equal":
        costs.study(options)
        return
    for instances in options.instances or (14,):
        for share in options.shares or (0.8,):
            _equal(options, instances, share)


def _equal(options: argparse.Namespace, instances: int, share: float) -> None:
    model = instances * BATCH / BATCH_S
    # An odd number, so that the tail does not end with full batches by chance.
    samples = int(model * options.seconds) // BATCH * BATCH + 3
    offline = Overrides(min_duration_s=0.0, min_query_count=samples, target_qps=float(samples))
    server = Overrides(
        min_duration_s=options.seconds,
        min_query_count=1,
        target_qps=share * model,
        target_latency_ms=15.0,
    )
    rounds: list[dict[str, Any]] = []
    for number in range(options.rounds):
        for policy in NAMES:
            for scenario, overrides in (("Offline", offline), ("Server", server)):
                workload = Workload(
                    scenario,
                    engine="sim",
                    instances=instances,
                    batch_size=BATCH,
                    modelled=True,
                    policy=policy,
                    overrides=overrides,
                )
                facts = _facts(run(workload))
                rounds.append({"round": number, "policy": policy, "scenario": scenario, **facts})
    write_json(options.json, rounds)
    for scenario, keys, columns in (
        ("Offline", ("share", "tail_batches", "cpu_us"), ("of the model's rate", "tail, batches")),
        ("Server", ("p50_ms", "p99_ms", "mean_batch", "cpu_us"), ("p50 ms", "p99 ms", "batch")),
    ):
        rows = []
        for policy in NAMES:
            mine = [x for x in rounds if (x["policy"], x["scenario"]) == (policy, scenario)]
            for row in mine:
                row["share"] = row["rate"] / model
            rows.append([policy, *(spread(mine, key) for key in keys)])
        show(
            f"{scenario}, engine sim, {instances} instances",
            ["", *columns, "loadrun us/sample"],
            rows,
        )


def _facts(outcome: Outcome) -> dict[str, Any]:
    served = outcome.report["instances"]
    batches = sum(instance["batches"] for instance in served)
    samples = sum(instance["samples"] for instance in served)
    # Each instance works from the start on, so that the gap to the busiest is the tail.
    busy = [instance["busy_s"] for instance in served]
    return {
        "others": outcome.others,
        "rate": outcome.rate,
        "p50_ms": outcome.latency_ms("p50"),
        "p99_ms": outcome.latency_ms("p99"),
        "mean_batch": samples / batches,
        "cpu_us": 1e6 * outcome.report["processor_s"] / samples,
        "tail_batches": (max(busy) - min(busy)) / BATCH_S,
    }


if __name__ == "__main__":
    main()
