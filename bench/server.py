"""``python -m bench.server``: Server through the rings, engine null, at rising rates.

A rate is VALID when LoadGen's p99 is within the limit and enough queries were completed. The null
SUT, without rings, runs beside it at the same rates as the ceiling. Rings are measured twice: by
the plan, and with a core for loadrun alone, as it has on a large server.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.parts.figures import show, spread, write_json
from bench.parts.options import parser
from bench.parts.run import Outcome, Workload, own_core, run
from loadrun.config import Overrides


def main() -> None:
    """Measure, print, write."""
    arguments = parser(__doc__, rounds=3, seconds=4.0)
    arguments.add_argument(
        "--qps", nargs="+", type=float, default=[40e3, 60e3, 80e3], help="rates, ascending"
    )
    arguments.add_argument("--instances", type=int, default=2)
    arguments.add_argument("--batch-size", type=int, default=64)
    arguments.add_argument("--limit-ms", type=float, default=1.0, help="p99 at most, default 1")
    options = arguments.parse_args()
    rounds: list[dict[str, Any]] = []
    for number in range(options.rounds):
        for qps in options.qps:
            overrides = Overrides(
                min_duration_s=options.seconds,
                min_query_count=1,
                target_qps=qps,
                target_latency_ms=options.limit_ms,
            )
            rings = Workload(
                "Server",
                instances=options.instances,
                batch_size=options.batch_size,
                overrides=overrides,
            )
            null = replace(rings.without_rings(), batch_size=1)
            contestants = {
                "null SUT": null,
                "rings": rings,
                "rings, loadrun's own core": replace(rings, processors=own_core()),
            }
            for name, workload in contestants.items():
                rounds.append({"round": number, "qps": qps, "sut": name, **_facts(run(workload))})
    write_json(options.json, rounds)
    rows = []
    for qps in options.qps:
        for name in dict.fromkeys(x["sut"] for x in rounds):
            mine = [x for x in rounds if (x["qps"], x["sut"]) == (qps, name)]
            valid = sum(x["valid"] for x in mine)
            figures = [spread(mine, key) for key in ("completed", "p50_ms", "p99_ms", "cpu_us")]
            rows.append([f"{qps:,.0f} qps, {name}", f"{valid} of {len(mine)}", *figures])
    columns = ["", "VALID", "completed/s", "p50 ms", "p99 ms", "driver us/query"]
    show(f"Server, engine null, {options.instances} instances", columns, rows)


def _facts(outcome: Outcome) -> dict[str, Any]:
    report = outcome.report
    queries = report["loadgen"]["metric"]["value"] * report["duration_s"]
    return {
        "valid": outcome.valid,
        "others": outcome.others,
        "completed": outcome.rate,
        "p50_ms": outcome.latency_ms("p50"),
        "p99_ms": outcome.latency_ms("p99"),
        "cpu_us": 1e6 * report["processor_s"] / queries,
        "mean_batch": _mean_batch(report["instances"]),
    }


def _mean_batch(instances: list[dict[str, Any]]) -> float:
    batches = sum(instance["batches"] for instance in instances)
    return sum(instance["samples"] for instance in instances) / batches if batches else 1.0


if __name__ == "__main__":
    main()
