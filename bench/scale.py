"""``python -m bench.scale``: loadrun with 1 to 224 simulated instances.

loadrun's processor time per sample must not grow with the instances: no query may cost work for
each of them. Offline, batch 8; LoadGen's own making of the samples is part of the figure.
"""

from __future__ import annotations

from typing import Any

from bench.parts.figures import show, spread, write_json
from bench.parts.options import parser
from bench.parts.run import Workload, run
from loadrun.config import Overrides
from netrun.config import SimulatedService

PER_INSTANCE = 230.0
"""Samples/s of one simulated instance, about."""


def main() -> None:
    """Measure, print, write."""
    arguments = parser(__doc__, rounds=1, seconds=6.0)
    arguments.add_argument("--instances", nargs="+", type=int, default=[1, 8, 28, 56, 112, 224])
    options = arguments.parse_args()
    rounds: list[dict[str, Any]] = []
    for number in range(options.rounds):
        for instances in options.instances:
            rounds.append(
                {"round": number, "instances": instances, **_measure(instances, options.seconds)}
            )
    write_json(options.json, rounds)
    rows = []
    for instances in options.instances:
        mine = [x for x in rounds if x["instances"] == instances]
        keys = ("rate", "share", "cpu_us", "start_s", "start_ms_each")
        rows.append([instances, *(spread(mine, key) for key in keys)])
    columns = [
        "instances",
        "samples/s",
        "of the model's rate",
        "loadrun us/sample",
        "start-up s",
        "ms/instance",
    ]
    show("Offline, engine sim, batch 8", columns, rows)


def _measure(instances: int, seconds: float) -> dict[str, Any]:
    samples = int(instances * PER_INSTANCE * seconds)
    workload = Workload(
        "Offline",
        engine="sim",
        instances=instances,
        batch_size=8,
        sim=SimulatedService(),
        overrides=Overrides(min_duration_s=0.0, min_query_count=samples, target_qps=float(samples)),
    )
    outcome = run(workload)
    phases = outcome.report["timings_s"]
    start_s = phases["create"] + phases["load"] + phases["warm_up"]
    return {
        "others": outcome.others,
        "rate": outcome.rate,
        "share": outcome.rate / (instances * 8 / (0.4e-3 + 8 * 4.3e-3)),
        "cpu_us": 1e6 * outcome.report["processor_s"] / samples,
        "start_s": start_s,
        "start_ms_each": 1e3 * start_s / instances,
    }


if __name__ == "__main__":
    main()
