"""``python -m bench.tuned MODEL``: what tuning gains here, against default and worst choice.

Takes the study that ``loadrun tune`` left in RESULTS, and measures by turns the finalist that did
best, the default and the worst choice tried that uses all cores. Rounds are added to the JSON file,
so that they can be run in pieces; the table is of all of them.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.parts.figures import show, write_json
from launch.cli import Parser
from launch.commands import tune as command
from launch.machine.topology import read_topology
from launch.supervise.signals import Signals
from launch.tune.evaluate import RunEvaluator
from launch.tune.evidence import Summary, chance
from launch.tune.search import Search, Trial, open_study
from launch.tune.session import default_choice, study_name
from launch.tune.space import Choice, make_space


def main() -> None:
    """Measure, print, write."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_arguments(parser)
    parser.add_argument("--json", required=True, metavar="FILE", help="rounds, added to")
    arguments = parser.parse_args()
    path = Path(arguments.json)
    options = command.read_options(arguments)
    topology = read_topology()
    default = default_choice(options.model, options.scenario, topology)
    space = make_space(topology, options.scenario, default)
    study = open_study(study_name(options, topology, space), f"sqlite:///{options.home}/study.db")
    with Signals() as signals:
        directory = options.home / "bench"
        evaluator = RunEvaluator(replace(options), directory, signals)
        search = Search(space, default, evaluator, study, time.monotonic)
        choices = _choices(search, default)
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rounds": []}
        rounds: list[dict[str, Any]] = known["rounds"]
        for number in range(options.rounds):
            order = list(choices.items())[:: -1 if (len(rounds) + number) % 2 else 1]
            figures = {
                name: evaluator.measure(choice, long=True, goal=None) for name, choice in order
            }
            rounds.append({"choices": {n: str(c) for n, c in choices.items()}, **figures})
            write_json(path, rounds)
    _show(options.model, options.scenario, choices, rounds, search.trials)


def _choices(search: Search, default: Choice) -> dict[str, Choice]:
    trials = search.trials
    whole = max(trial.choice.layout.cores for trial in trials)
    using_all = [trial for trial in trials if trial.choice.layout.cores == whole]
    # A single test proves little on a noisy machine: the finalists' repeats do.
    finalists = {str(choice): choice for choice in search.finalists() if choice != default}
    repeated = {n: s.median for n, s in search.confirmed(search.finalists()).items()}
    best = max(finalists, key=lambda name: repeated.get(name, 0.0), default=None)
    tuned = finalists[best] if best else default
    others = [trial for trial in using_all if trial.choice not in (tuned, default)]
    worst = min(others or using_all, key=lambda t: t.figure).choice
    return {"tuned": tuned, "default": default, "worst": worst}


def _show(
    model: str,
    scenario: str,
    choices: dict[str, Choice],
    rounds: list[dict[str, Any]],
    trials: list[Trial],
) -> None:
    same = [r for r in rounds if r["choices"] == {n: str(c) for n, c in choices.items()}]
    found = {name: Summary(tuple(r[name] for r in same)) for name in choices}
    base = found["tuned"].median
    rows = []
    for name, choice in choices.items():
        summary = found[name]
        ratio = f"{base / summary.median:.2f}" if summary.median else "-"
        p = chance(found["tuned"].values, summary.values)
        rows.append([name, str(choice), str(summary), ratio, f"{p:.2g}"])
    minutes = sum(trial.seconds for trial in trials) / 60
    title = f"{model} {scenario}: {len(trials)} trials in {minutes:.1f} minutes of measuring"
    show(title, ["", "choice", "figure", "tuned / this", "chance"], rows)


if __name__ == "__main__":
    main()
