"""``python -m bench.harness``: what rings, dispatch and LoadGen cost a real model, Offline.

Whole runs of ``loadrun run``; harness efficiency is LoadGen's rate over the sum of the rates that
the instances measured alone at the warm-up of the same run. LOADRUN_WEIGHTS, LOADRUN_IMAGES and
LOADRUN_CALIBRATION choose real data.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

from bench.parts.figures import show, spread, write_json
from bench.parts.options import parser
from launch.supervise.environment import base_environment


def main() -> None:
    """Measure, print, write."""
    arguments = parser(__doc__, rounds=3, seconds=10.0)
    arguments.add_argument("--models", nargs="+", default=["resnet50", "mobilenet"])
    arguments.add_argument("--instances", nargs="+", type=int, default=[1, 2])
    options = arguments.parse_args()
    rounds: list[dict[str, Any]] = []
    for number in range(options.rounds):
        for model in options.models:
            for instances in options.instances:
                record = _run(model, instances, options.seconds)
                rounds.append({"round": number, "model": model, "instances": instances, **record})
    write_json(options.json, rounds)
    rows = []
    for model in options.models:
        for instances in options.instances:
            mine = [x for x in rounds if (x["model"], x["instances"]) == (model, instances)]
            figures = [spread(mine, key) for key in ("rate", "standalone", "efficiency", "busy")]
            rows.append([f"{model}, {instances} x 1 core", *figures])
    columns = ["", "Offline samples/s", "standalone samples/s", "efficiency", "time in the engine"]
    show("Harness efficiency", columns, rows)


def _run(model: str, instances: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="loadrun-bench-") as results:
        command = [sys.executable, "-m", "launch.cli", "run", model, "--json", "--results", results]
        command += ["--instances", str(instances), "--cores", str(instances)]
        command += ["--fast", "--time", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, env=base_environment())
    if done.returncode not in (0, 3):
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    record = json.loads(done.stdout)
    tested_s = record["duration_s"] * instances
    return {
        "rate": record["result"]["metric"]["value"],
        "standalone": record["standalone_rate"],
        "efficiency": record["harness_efficiency"],
        "busy": sum(instance["busy_s"] for instance in record["instances"]) / tested_s,
    }


if __name__ == "__main__":
    main()
