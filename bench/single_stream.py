"""``python -m bench.single_stream``: what a ring adds to the latency of a single query.

LoadGen's SingleStream, engine null: in the process of LoadGen (the bare engine) and in an instance
behind a ring. Then the processor time of instances that have nothing to do, parked.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

from bench.parts.figures import show, spread, write_json
from bench.parts.idle import idle_share
from bench.parts.options import parser
from bench.parts.run import Outcome, Workload, own_core, run
from loadrun.config import Overrides


def main() -> None:
    """Measure, print, write."""
    arguments = parser(__doc__, rounds=7, seconds=3.0)
    arguments.add_argument("--idle", type=int, default=8, help="idle instances, default 8")
    options = arguments.parse_args()
    overrides = Overrides(min_duration_s=options.seconds, min_query_count=1, target_latency_ms=0.02)
    rings = Workload("SingleStream", instances=1, batch_size=1, overrides=overrides)
    last, others = own_core()
    contestants = {
        "null SUT": rings.without_rings(),
        "bare engine": rings.without_rings("bench.parts.bare"),
        "ring, plan's processors": rings,
        "ring, a processor each": replace(rings, processors=(others, last)),
    }
    rounds: list[dict[str, Any]] = []
    for number in range(options.rounds):
        for name, workload in contestants.items():
            rounds.append({"round": number, "sut": name, **_facts(run(workload))})
    idle = [idle_share(options.idle, options.seconds) for _ in range(3)]
    write_json(options.json, {"latency": rounds, "idle": idle})
    bare = [x["p90_us"] for x in rounds if x["sut"] == "bare engine"]
    rows = []
    for name in contestants:
        mine = [x for x in rounds if x["sut"] == name]
        added = statistics.median(x["p90_us"] - b for x, b in zip(mine, bare, strict=True))
        figures = [spread(mine, key) for key in ("p50_us", "p90_us", "p99_us")]
        rows.append([name, *figures, added])
    columns = ["", "p50 us", "p90 us", "p99 us", "p90 over the bare engine, us"]
    show("SingleStream, engine null", columns, rows)
    rows = [["an idle instance", spread(idle, "percent_mean"), spread(idle, "percent_most")]]
    columns = ["", "mean of all, % of a core", "busiest, % of a core"]
    show(f"{options.idle} parked instances", columns, rows)


def _facts(outcome: Outcome) -> dict[str, Any]:
    latencies = {p: 1e3 * outcome.latency_ms(p) for p in ("p50", "p90", "p99", "p99.9")}
    return {"others": outcome.others, **{f"{p}_us": us for p, us in latencies.items()}}


if __name__ == "__main__":
    main()
