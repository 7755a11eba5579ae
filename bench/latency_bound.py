"""``python -m bench.latency_bound``: Server at the latency limit against Offline, engine sim.

Simulated instances wait for the service time of a 4-core instance instead of computing, and one
process stands for all of them (`bench.parts.modelled`), so that many can be studied on few
processors. The ladder of rates is in parts of Offline's measured rate; beside it stands what
queueing theory allows an ideal dispatcher (`bench.queueing`).
"""

from __future__ import annotations

from typing import Any

from bench.parts.figures import show, spread, write_json
from bench.parts.options import parser
from bench.parts.run import Workload, run
from bench.queueing import Service, batch_bound, highest_rate, single_bound
from loadrun.config import Overrides
from netrun.config import SimulatedService

MODEL = SimulatedService()


def main() -> None:
    """Measure, print, write."""
    arguments = parser(__doc__, rounds=1, seconds=8.0)
    arguments.add_argument("--instances", nargs="+", type=int, default=[28, 56])
    arguments.add_argument("--limit-ms", type=float, default=15.0)
    arguments.add_argument("--offline-batch", type=int, default=8)
    arguments.add_argument(
        "--shares", nargs="+", type=float, default=[0.85, 0.88, 0.91, 0.93], help="of Offline"
    )
    options = arguments.parse_args()
    limit_s = options.limit_ms / 1e3
    rounds: list[dict[str, Any]] = []
    for number in range(options.rounds):
        for instances in options.instances:
            offline = _offline(instances, options.offline_batch, options.seconds)
            for share in options.shares:
                facts = _server(instances, share * offline, options.seconds, options.limit_ms)
                rounds.append(
                    {
                        "round": number,
                        "instances": instances,
                        "share": share,
                        "offline": offline,
                        **facts,
                    }
                )
    write_json(options.json, rounds)
    rows = []
    for instances in options.instances:
        for share in options.shares:
            mine = [x for x in rounds if (x["instances"], x["share"]) == (instances, share)]
            figures = [spread(mine, key) for key in ("p50_ms", "p99_ms", "mean_batch")]
            valid = f"{sum(x['valid'] for x in mine)} of {len(mine)}"
            rows.append([f"{instances} instances, {share:g} of Offline", valid, *figures])
    columns = ["", "VALID", "p50 ms", "p99 ms", "mean batch"]
    show(f"Server, limit {options.limit_ms:g} ms at p99, engine sim", columns, rows)
    _show_ceilings(options.instances, options.offline_batch, limit_s, rounds)


def _show_ceilings(
    counts: list[int], offline_batch: int, limit_s: float, rounds: list[dict[str, Any]]
) -> None:
    service = Service(MODEL.base_ms / 1e3, MODEL.sample_ms / 1e3, MODEL.jitter)
    rows = []
    for instances in counts:
        ideal = instances * service.rate(offline_batch)
        mine = [x for x in rounds if x["instances"] == instances]
        held = [x["share"] for x in mine if x["valid"]]
        rows.append(
            [
                f"{instances} instances",
                max(held, default=0.0),
                highest_rate(service, instances, limit_s) / ideal,
                single_bound(service, instances, limit_s) / ideal,
                batch_bound(service, instances, limit_s) / ideal,
                spread(mine, "offline"),
                ideal,
            ]
        )
    columns = [
        "",
        "highest VALID share",
        "ideal dispatcher",
        "singles, M/D/c",
        "never idle",
        "Offline samples/s",
        "Offline by the model",
    ]
    show("Server / Offline, measured and what queueing theory allows", columns, rows)


def _offline(instances: int, batch: int, seconds: float) -> float:
    samples = int(instances * 230 * seconds)
    overrides = Overrides(min_duration_s=0.0, min_query_count=samples, target_qps=float(samples))
    workload = Workload(
        "Offline",
        engine="sim",
        instances=instances,
        batch_size=batch,
        modelled=True,
        overrides=overrides,
    )
    return run(workload).rate


def _server(instances: int, qps: float, seconds: float, limit_ms: float) -> dict[str, Any]:
    overrides = Overrides(
        min_duration_s=seconds, min_query_count=1, target_qps=qps, target_latency_ms=limit_ms
    )
    workload = Workload(
        "Server",
        engine="sim",
        instances=instances,
        batch_size=8,
        modelled=True,
        overrides=overrides,
    )
    outcome = run(workload)
    served = outcome.report["instances"]
    batches = sum(instance["batches"] for instance in served)
    return {
        "valid": outcome.valid,
        "others": outcome.others,
        "qps": qps,
        "p50_ms": outcome.latency_ms("p50"),
        "p99_ms": outcome.latency_ms("p99"),
        "mean_batch": sum(instance["samples"] for instance in served) / batches,
    }


if __name__ == "__main__":
    main()
