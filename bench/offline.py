"""``python -m bench.offline``: Offline through the rings, engine null, against LoadGen's own limit.

The null SUT answers in LoadGen's own call without rings or workers, with batches of the same size
and with all samples at once: what LoadGen from Python can do at most on this machine. Rings are
also measured with a core for loadrun alone, as it has on a large server.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

from bench.parts.figures import show, spread, write_json
from bench.parts.options import parser
from bench.parts.run import Outcome, Workload, own_core, run
from loadrun.config import Overrides

ALL_AT_ONCE = 1 << 20


def main() -> None:
    """Measure, print, write."""
    arguments = parser(__doc__, rounds=5, seconds=2.0)
    arguments.add_argument("--instances", type=int, default=2)
    arguments.add_argument("--batch-size", type=int, default=16)
    arguments.add_argument(
        "--samples", type=float, default=2e6, help="samples of a test, default 2 million"
    )
    options = arguments.parse_args()
    overrides = Overrides(
        min_duration_s=0.0, min_query_count=int(options.samples), target_qps=options.samples
    )
    rings = Workload(
        "Offline",
        instances=options.instances,
        batch_size=options.batch_size,
        overrides=overrides,
    )
    null = rings.without_rings()
    contestants = {
        "null SUT, all at once": replace(null, batch_size=ALL_AT_ONCE),
        f"null SUT, batches of {options.batch_size}": null,
        "rings": rings,
        "rings, unsorted": replace(rings, sort_samples=False),
        "rings, unsorted, loadrun's own core": replace(
            rings, sort_samples=False, processors=own_core()
        ),
    }
    rounds: list[dict[str, Any]] = []
    for number in range(options.rounds):
        for name, workload in contestants.items():
            rounds.append({"round": number, "sut": name, **_facts(run(workload))})
    write_json(options.json, rounds)
    ceiling = [x["rate"] for x in rounds if x["sut"] == list(contestants)[1]]
    rows = []
    for name in contestants:
        mine = [x for x in rounds if x["sut"] == name]
        ratio = statistics.median(x["rate"] / c for x, c in zip(mine, ceiling, strict=True))
        rows.append([name, spread(mine, "rate"), spread(mine, "cpu_us"), ratio])
    columns = ["", "samples/s", "driver us/sample", "of the null SUT in batches"]
    show(f"Offline, engine null, {options.instances} instances", columns, rows)


def _facts(outcome: Outcome) -> dict[str, Any]:
    samples = outcome.rate * outcome.report["duration_s"]
    return {
        "valid": outcome.valid,
        "others": outcome.others,
        "rate": outcome.rate,
        "cpu_us": 1e6 * outcome.report["processor_s"] / samples,
        "instances_s": outcome.instances_s,
    }


if __name__ == "__main__":
    main()
