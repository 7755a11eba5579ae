"""``python -m bench.tuning``: the tuner's choice against exhaustive search on simulated machines.

On machines that are only modelled (`bench.simulated`) every choice can be measured without noise.
The tuner sees the same figures with noise. Regret is what its choice lacks of the best choice, both
without noise. Some choices are also run by real loadrun and netrun processes whose engine waits the
modelled times.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.parts.figures import show, write_json
from bench.parts.options import parser
from bench.parts.run import Workload, run
from bench.simulated.machine import Machine
from bench.simulated.serving import late_share, offline_rate
from launch.machine.plan import make_plan
from launch.machine.recording import Recorded
from launch.machine.topology import read_topology
from launch.qps.search import search_peak
from launch.tune.evidence import judge
from launch.tune.search import Search, open_study
from launch.tune.space import Choice, Layout, Space, make_space
from loadrun.config import Overrides
from loadrun.scenarios import SCENARIOS

RECORDINGS = Path(__file__).parent.parent / "tests/launch/recordings"
SPEEDS = {"desktop": (32.0, 25.0), "dual_28": (38.5, 70.0), "nps4": (32.0, 30.0)}
"""MB of an L3 cache and GB/s of a memory node."""
LIMIT_S = 0.015
NOISE = 0.02
SHARE = 0.25
"""Evaluations that the tuner may make, of those that exhaustive search makes."""
ROUNDS = 6
QUERIES = 1000
POLICIES, DEPTHS = ("pull", "round_robin", "local_batch_first"), (1, 2)
"""Fewer than `loadrun tune` tries, so that exhaustive search ends."""
LATE = 0.01


@dataclass
class Model:
    """A machine's true figures; a choice is computed once."""

    machine: Machine
    scenario: str
    known: dict[Choice, float] = field(default_factory=dict)

    def truth(self, choice: Choice) -> float:
        """Samples/s or the highest queries/s, without noise."""
        if choice not in self.known:
            offline = SCENARIOS[self.scenario].at_once
            self.known[choice] = self._offline(choice) if offline else self._server(choice)
        return self.known[choice]

    def _offline(self, choice: Choice) -> float:
        service = self.machine.service(choice.layout, choice.batch_size)
        count = choice.layout.instances
        samples = max(40 * count * choice.batch_size, 400)
        return offline_rate(
            service, count, choice.batch_size, choice.policy, choice.in_flight, samples
        )

    def _server(self, choice: Choice) -> float:
        service = self.machine.service(choice.layout, choice.batch_size)
        count, size = choice.layout.instances, choice.batch_size
        bound = max(count * b / service.mean_ms(b) * 1e3 for b in range(1, size + 1))
        if service.mean_ms(1) / 1e3 >= LIMIT_S:
            return 0.0

        def holds(qps: float, seconds: float) -> bool:
            words = (count, size, choice.policy, choice.in_flight, LIMIT_S, qps)
            return late_share(service, *words, int(seconds), 7) <= LATE

        peak = search_peak(
            holds, 0.8 * bound, durations=(QUERIES,), precision=0.01, growth=1.2, most=14
        )
        return peak.qps or 0.0


@dataclass
class Noisy:
    """What the tuner sees: the truth with noise, less of it in longer measurements."""

    model: Model
    noise: float
    draw: random.Random

    def measure(self, choice: Choice, *, long: bool, goal: float | None) -> float:
        """A measurement."""
        del goal
        deviation = self.noise / 2 if long else self.noise
        return max(0.0, self.model.truth(choice) * self.draw.gauss(1.0, deviation))


def main() -> None:
    """Measure, print, write."""
    arguments = parser(__doc__, rounds=3, seconds=4.0)
    arguments.add_argument("--machines", nargs="+", default=list(SPEEDS))
    arguments.add_argument("--scenarios", nargs="+", default=["Offline", "Server"])
    arguments.add_argument("--real", type=int, default=0, help="choices run by real processes")
    options = arguments.parse_args()
    found: list[dict[str, Any]] = []
    for name in options.machines:
        for scenario in options.scenarios:
            found += _machine(name, scenario, options.rounds, options.real, options.seconds)
    write_json(options.json, found)
    columns = ["machine, scenario, seed", "choices", "tuner measured", "best", "tuned", "default"]
    columns += ["worst", "regret"]
    rows = [
        [
            f"{x['machine']}, {x['scenario']}, {x['seed']}",
            str(x["choices"]),
            f"{x['measurements']} ({100 * x['measurements'] / x['choices']:.0f}%)",
            f"{x['best']:.1f}",
            f"{x['tuned']:.1f}",
            f"{x['default']:.1f}",
            f"{x['worst']:.1f}",
            f"{100 * x['regret']:.2f}%",
        ]
        for x in found
    ]
    show("Tuner against exhaustive search (simulated machines)", columns, rows)
    for x in found:
        print(
            f"{x['machine']} {x['scenario']} {x['seed']}: best {x['best_choice']};"
            f" tuned {x['tuned_choice']}; {x['verdict']}"
        )
        for real in x["real"]:
            print("  real run: " + json.dumps(real))


def _machine(
    name: str, scenario: str, seeds: int, real: int, seconds: float
) -> list[dict[str, Any]]:
    topology = read_topology(Recorded.load(RECORDINGS / f"{name}.json"))
    l3_mb, node_gb_s = SPEEDS[name]
    model = Model(Machine(topology, l3_mb, node_gb_s), scenario)
    plan = make_plan(topology)
    layout = Layout(len(plan.instances), plan.cores_per_instance)
    default = Choice(layout, SCENARIOS[scenario].batch_size, "pull", 2)
    space = replace(make_space(topology, scenario, default), policies=POLICIES, depths=DEPTHS)
    started = time.monotonic()
    truth = {point: model.truth(space.choice(point)) for point in space.points()}
    exhaustive_s = time.monotonic() - started
    best, worst = max(truth, key=truth.__getitem__), min(truth, key=truth.__getitem__)
    outcomes = []
    for seed in range(seeds):
        search = _tune(space, default, model, seed, name)
        finalists = search.finalists()
        confirmed = search.confirmed(finalists)
        verdict = judge(confirmed, str(default))
        tuned = next((c for c in finalists if str(c) == verdict.winner), default)
        outcomes.append(
            {
                "machine": name,
                "scenario": scenario,
                "seed": seed,
                "choices": space.size,
                "measurements": search.measurements,
                "trials": len(search.trials),
                "best": truth[best],
                "best_choice": str(space.choice(best)),
                "worst": truth[worst],
                "default": model.truth(default),
                "tuned": model.truth(tuned),
                "tuned_choice": str(tuned),
                "regret": 1 - model.truth(tuned) / truth[best],
                "verdict": verdict.text,
                "exhaustive_s": round(exhaustive_s, 1),
                "real": [],
            }
        )
    checked = [space.choice(best), default][:real]
    outcomes[0]["real"] = [_real(model, choice, seconds) for choice in checked]
    return outcomes


def _tune(space: Space, default: Choice, model: Model, seed: int, name: str) -> Search:
    noisy = Noisy(model, NOISE, random.Random(seed))
    study = open_study(f"{name}-{seed}", None, seed)
    search = Search(space, default, noisy, study, time.monotonic)
    # The rest is the finalists': four and the default, in every round.
    most = int(SHARE * space.size) - 5 * ROUNDS - 2
    search.run(lambda: search.measurements < most)
    search.confirm(search.finalists(), ROUNDS, lambda: True)
    return search


def _real(model: Model, choice: Choice, seconds: float) -> dict[str, Any]:
    """The same choice by loadrun and netrun processes that wait the modelled times."""
    layout, truth = choice.layout, model.truth(choice)
    service = model.machine.service(layout, choice.batch_size)
    offline = SCENARIOS[model.scenario].at_once
    target = truth if offline else 0.9 * truth
    workload = Workload(
        model.scenario,
        engine="sim",
        instances=layout.instances,
        batch_size=choice.batch_size,
        in_flight=choice.in_flight,
        policy=choice.policy,
        overrides=Overrides(
            min_duration_s=seconds, min_query_count=1, max_query_count=0, target_qps=target
        ),
        sim=replace(service, jitter=0.0),
    )
    outcome = run(workload)
    return {
        "choice": str(choice),
        "model": round(truth, 1),
        "asked": round(target, 1),
        "measured": round(outcome.rate, 1),
        "valid": outcome.valid,
    }


if __name__ == "__main__":
    main()
