"""The search: Optuna proposes, short measurements prune, longer ones count, repeats decide.

Proposals come in turn from three sources: a few starting points (the default, then every layout
at the default's batch size), Optuna's multivariate tree-structured Parzen estimator (Bergstra et
al. 2011), and the neighbours of the best choice so far, which finish what the estimator's random
draws leave open. Nothing is measured twice in the search. Every trial is in the study's storage
before the next one starts, so that a search can end at any moment and go on later.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from launch.tune.evidence import Summary
from launch.tune.space import Choice, Space

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

DIMENSIONS = ("layout", "batch", "policy", "depth")
CONFIRMED = "confirmed"
PRUNE_BELOW = 0.93
"""A short measurement below this share of the best one ends the trial."""
PATIENCE = 30
"""Trials without improvement, once all neighbours of the best few are measured, that end it."""
CHECK_EVERY = 4
"""Trials after which the best choice is measured again before one is pruned."""
ASKS = 20
"""Proposals already measured before the estimator is passed over."""
FINALISTS = 4


class Evaluator(Protocol):
    """Measures a choice."""

    def measure(self, choice: Choice, *, long: bool, goal: float | None) -> float:
        """Return the value to maximise, 0 where the choice cannot serve at all.

        Offline: samples/s; Server: the highest queries/s within the latency limit; SingleStream
        and MultiStream: queries/s at the percentile that counts (1 / latency). `goal` is what a
        short measurement has to reach to be of interest: below it a rough figure is enough.
        """


@dataclass(frozen=True)
class Trial:
    """One choice measured: `short` and `value` (None: pruned after the short one)."""

    number: int
    choice: Choice
    short: float
    value: float | None
    source: str
    seconds: float

    @property
    def figure(self) -> float:
        """The longer measurement, else the short one."""
        return self.short if self.value is None else self.value


class Search:
    """A search in `space` that lives in `study`; `report` is called with every trial as it ends."""

    def __init__(
        self,
        space: Space,
        default: Choice,
        evaluator: Evaluator,
        study: Study,
        clock: Callable[[], float],
        report: Callable[[Trial], None] = lambda trial: None,
    ) -> None:
        self._space = space
        self._default = default
        self._evaluator = evaluator
        self._study = study
        self._clock = clock
        self._report = report
        self.measurements = 0
        self._reference: float | None = None
        self._check_at = CHECK_EVERY

    @property
    def trials(self) -> list[Trial]:
        """All trials that were measured, in order, those of earlier sessions included."""
        return list(_measured(self._study, self._space))

    def run(self, goes_on: Callable[[], bool]) -> str:
        """Search while `goes_on` says so; returns why it ended: "budget", "converged", "all"."""
        self._abandon()
        proposals = self._proposals()
        while goes_on():
            proposed = next(proposals, None)
            if proposed is None:
                return "all" if len(self.trials) >= self._space.size else "converged"
            self._try(*proposed)
        return "budget"

    def finalists(self) -> list[Choice]:
        """The best choices of the search and the default, which is measured whatever it was.

        They differ in layout or batch size, and no layout has more than two: choices that differ
        in policy alone are mostly one and the same, and would leave no room for others.
        """
        chosen: list[Choice] = []
        for choice in (t.choice for t in self._ranked() if t.choice != self._default):
            alike = [c for c in chosen if c.layout == choice.layout]
            if len(alike) < 2 and all(c.batch_size != choice.batch_size for c in alike):
                chosen.append(choice)
        return [*chosen[:FINALISTS], self._default]

    def confirm(self, finalists: list[Choice], rounds: int, goes_on: Callable[[], bool]) -> None:
        """Measure the finalists `rounds` times in alternating order, while `goes_on`.

        A round is whole or not counted; earlier sessions' rounds of the same finalists stay.
        """
        for number in range(rounds):
            values = {}
            # Every second round backwards: what drifts over time then favours nobody.
            order = finalists if number % 2 == 0 else finalists[::-1]
            for choice in order:
                if not goes_on():
                    return
                values[str(choice)] = self._measure(choice, long=True, goal=None)
            self._study.set_user_attr(CONFIRMED, json.dumps([*self._rounds(), values]))

    def confirmed(self, finalists: list[Choice]) -> dict[str, Summary]:
        """Repeats of the finalists, from the rounds in which all of them took part."""
        names = [str(choice) for choice in finalists]
        whole = [x for x in self._rounds() if all(name in x for name in names)]
        return {name: Summary(tuple(x[name] for x in whole)) for name in names} if whole else {}

    def _rounds(self) -> list[dict[str, float]]:
        text = self._study.user_attrs.get(CONFIRMED)
        found: list[dict[str, float]] = json.loads(text) if text else []
        return found

    def _proposals(self) -> Iterator[tuple[tuple[int, ...], str]]:
        for point in self._starts():
            if point not in self._seen():
                yield point, "start"
        since, best, turn = 0, self._best(), 0
        while True:
            neighbour = self._neighbour()
            if neighbour is None and since >= PATIENCE:
                return
            turn += 1
            if neighbour is not None and turn % 2:
                yield neighbour, "neighbour"
            else:
                estimate = self._estimate()
                if estimate is not None:
                    yield estimate, "estimator"
                elif neighbour is not None:
                    yield neighbour, "neighbour"
                else:
                    return
            now = self._best()
            since = 0 if now != best else since + 1
            best = now

    def _starts(self) -> list[tuple[int, ...]]:
        """The default, every layout with its batch size, then every layout with a large one."""
        default = self._space.point(self._default)
        layouts, batches, *_ = self._space.sizes
        large = 3 * (batches - 1) // 4
        sizes = dict.fromkeys((default[1], large))
        starts = [(layout, size, *default[2:]) for size in sizes for layout in range(layouts)]
        return list(dict.fromkeys([default, *starts]))

    def _neighbour(self) -> tuple[int, ...] | None:
        """A new neighbour of the best choice, else of the next best: noise can swap them.

        Of all of these first in layout and batch size, which matter most: the best one's policies
        would else come before another layout's right batch size.
        """
        seen = self._seen()
        best = [self._space.point(trial.choice) for trial in self._ranked()[:FINALISTS]]
        near = [(own, point) for own in best for point in self._space.neighbours(own)]
        new = [(own, point) for own, point in near if point not in seen]
        first = (point for own, point in new if point[:2] != own[:2])
        return next(first, new[0][1] if new else None)

    def _estimate(self) -> tuple[int, ...] | None:
        """A new point from the estimator, None when it only knows old ones."""
        from optuna.trial import TrialState

        seen = self._seen()
        for _ in range(ASKS):
            trial = self._study.ask()
            point = self._suggest(trial)
            # The real trial comes when the point is measured.
            self._study.tell(trial, state=TrialState.FAIL)
            if point not in seen:
                return point
        return None

    def _suggest(self, trial: Any) -> tuple[int, ...]:
        sizes = zip(DIMENSIONS, self._space.sizes, strict=True)
        return tuple(
            # Policies have no order; the others do.
            trial.suggest_categorical(name, list(range(size)))
            if name == "policy"
            else trial.suggest_int(name, 0, size - 1)
            for name, size in sizes
        )

    def _try(self, point: tuple[int, ...], source: str) -> None:
        from optuna.trial import TrialState

        study = self._study
        study.enqueue_trial(dict(zip(DIMENSIONS, point, strict=True)))
        trial = study.ask()
        self._suggest(trial)
        trial.set_user_attr("source", source)
        choice = self._space.choice(point)
        started = self._clock()
        goal = self._goal()
        short = self._measure(choice, long=False, goal=goal)
        if goal is not None and short < goal and len(self.trials) >= self._check_at:
            goal = self._check()
        trial.report(short, 0)
        trial.set_user_attr("short", short)
        value = None
        if short > 0 and (goal is None or short >= goal):
            value = self._measure(choice, long=True, goal=None)
        trial.set_user_attr("seconds", self._clock() - started)
        if value is None:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            self._reference = max(self._reference or 0.0, short)
            trial.report(value, 1)
            study.tell(trial, value)
        self._report(self.trials[-1])

    def _goal(self) -> float | None:
        """What a short measurement has to reach, None before there is anything to compare with."""
        if self._reference is None:
            shorts = [trial.short for trial in self.trials if trial.value is not None]
            self._reference = max(shorts, default=None)
        return None if self._reference is None else PRUNE_BELOW * self._reference

    def _check(self) -> float:
        """Measure the best choice again before others are pruned for being worse.

        A machine that has become slower since (heat, other processes) would else lose every choice
        that comes now.
        """
        best = self._best()
        assert best is not None
        self._reference = self._measure(self._space.choice(best), long=False, goal=None)
        self._check_at = len(self.trials) + CHECK_EVERY
        return PRUNE_BELOW * self._reference

    def _measure(self, choice: Choice, *, long: bool, goal: float | None) -> float:
        self.measurements += 1
        return self._evaluator.measure(choice, long=long, goal=goal)

    def _best(self) -> tuple[int, ...] | None:
        ranked = self._ranked()
        return self._space.point(ranked[0].choice) if ranked else None

    def _ranked(self) -> list[Trial]:
        """Trials that were not pruned, the best first."""
        kept = (trial for trial in self.trials if trial.value is not None)
        return sorted(kept, key=lambda trial: -trial.figure)

    def _seen(self) -> set[tuple[int, ...]]:
        return {self._space.point(trial.choice) for trial in self.trials}

    def _abandon(self) -> None:
        """Close trials that a killed session left running or waiting."""
        from optuna.trial import TrialState

        for trial in self._study.get_trials(
            deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)
        ):
            if trial.state == TrialState.RUNNING:
                self._study.tell(trial.number, state=TrialState.FAIL)
            else:
                self._study.tell(self._study.ask(), state=TrialState.FAIL)


def open_study(name: str, storage: str | None, seed: int | None = None) -> Study:
    """The study of that name, a new one or one to go on with; `storage` None keeps it in memory."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Multivariate sampling is marked experimental, which is nothing the user can act on.
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    sampler = optuna.samplers.TPESampler(multivariate=True, n_startup_trials=8, seed=seed)
    return optuna.create_study(
        study_name=name,
        storage=storage,
        sampler=sampler,
        direction="maximize",
        load_if_exists=True,
    )


def _measured(study: Study, space: Space) -> Iterator[Trial]:
    from optuna.trial import TrialState

    done = (TrialState.COMPLETE, TrialState.PRUNED)
    for number, trial in enumerate(study.get_trials(deepcopy=False, states=done)):
        yield _trial(trial, space, number)


def _trial(trial: FrozenTrial, space: Space, number: int) -> Trial:
    point = tuple(int(trial.params[name]) for name in DIMENSIONS)
    return Trial(
        number=number,
        choice=space.choice(point),
        short=float(trial.user_attrs["short"]),
        value=None if trial.value is None or trial.state.name == "PRUNED" else float(trial.value),
        source=str(trial.user_attrs["source"]),
        seconds=float(trial.user_attrs["seconds"]),
    )
