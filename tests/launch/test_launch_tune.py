"""The tuner: what it searches, how sure it is, that it goes on, and that runs use what it found."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from drawings import Drawing
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import RECORDINGS

from base.errors import InputError
from launch.cli import Parser, main
from launch.commands import run as run_command
from launch.machine.plan import make_plan
from launch.machine.recording import Recorded
from launch.machine.topology import Topology, read_topology
from launch.options import RunOptions
from launch.tune.evidence import Summary, chance, judge
from launch.tune.picture import write_all
from launch.tune.search import PATIENCE, Search, Trial, open_study
from launch.tune.space import Choice, Layout, Space, make_space
from launch.tune.table import trials_csv
from launch.tune.tuned import Tuned, machine_key, tuned_path, write_tuned
from loadrun.scenarios import SCENARIOS

SPACE = Space(
    tuple(Layout(instances, 8 // instances) for instances in (8, 4, 2, 1)),
    (1, 2, 4, 8, 16),
    ("pull", "round_robin"),
    (1, 2, 3),
)
DEFAULT = Choice(Layout(4, 2), 4, "pull", 2)


def recorded(name: str) -> Topology:
    return read_topology(Recorded.load(RECORDINGS / f"{name}.json"))


class Hill:
    """One best choice, from which figures fall off in every dimension; `noise` is relative."""

    def __init__(self, best: tuple[int, ...], noise: float = 0.0, seed: int = 1) -> None:
        self.best = best
        self.noise = noise
        self.draw = random.Random(seed)
        self.asked: list[tuple[Choice, bool]] = []

    def truth(self, choice: Choice) -> float:
        steps = (abs(a - b) for a, b in zip(SPACE.point(choice), self.best, strict=True))
        return 100.0 - sum(w * s for w, s in zip((9, 6, 2, 3), steps, strict=True))

    def measure(self, choice: Choice, *, long: bool, goal: float | None) -> float:
        self.asked.append((choice, long))
        return self.truth(choice) * self.draw.gauss(1, self.noise)


def search_of(hill: Hill, storage: str | None = None) -> Search:
    clock = itertools.count()
    return Search(SPACE, DEFAULT, hill, open_study("hill", storage, 3), lambda: float(next(clock)))


@pytest.mark.parametrize("best", [(2, 3, 0, 1), (0, 0, 1, 2), (3, 4, 1, 0)])
def test_the_search_finds_the_best_choice_with_few_trials(best: tuple[int, ...]) -> None:
    hill = Hill(best)
    search = search_of(hill)
    assert search.run(lambda: len(search.trials) < 40) in ("converged", "budget")
    assert search.finalists()[0] == SPACE.choice(best)
    assert search.finalists()[-1] == DEFAULT
    tried = [trial.choice for trial in search.trials]
    assert len(set(tried)) == len(tried), "nothing is tried twice"
    assert len(tried) <= SPACE.size // 3


def test_bad_choices_are_pruned_by_the_short_measurement() -> None:
    hill = Hill((1, 2, 0, 1))
    search = search_of(hill)
    search.run(lambda: len(search.trials) < 12)
    pruned = [trial for trial in search.trials if trial.value is None]
    assert pruned
    measured_long = {choice for choice, long in hill.asked if long}
    assert not measured_long & {trial.choice for trial in pruned}
    best = max(trial.short for trial in search.trials)
    assert all(trial.short < best for trial in pruned)


def test_a_machine_that_becomes_slower_does_not_prune_everything() -> None:
    class Drifting(Hill):
        def truth(self, choice: Choice) -> float:
            return super().truth(choice) * (1.0 if len(self.asked) <= 2 else 0.4)

    hill = Drifting((2, 3, 0, 1))
    search = search_of(hill)
    search.run(lambda: len(search.trials) < 30)
    counted = [trial for trial in search.trials[6:] if trial.value is not None]
    assert counted, "the best choice was measured again, and others are held against that"


def test_a_search_ends_when_the_neighbours_are_no_better() -> None:
    hill = Hill((1, 2, 0, 1))
    search = search_of(hill)
    assert search.run(lambda: True) == "converged"
    assert PATIENCE < len(search.trials) < SPACE.size


def test_a_small_space_is_searched_completely() -> None:
    space = replace(SPACE, layouts=SPACE.layouts[1:2], policies=("pull",), depths=(2,))
    search = Search(space, DEFAULT, Hill((1, 0, 0, 1)), open_study("small", None, 1), lambda: 0.0)
    assert search.run(lambda: True) == "all"
    assert len(search.trials) == space.size


def test_an_interrupted_search_goes_on(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"

    class Interrupted(Hill):
        def measure(self, choice: Choice, *, long: bool, goal: float | None) -> float:
            if len(self.asked) == 4:
                raise KeyboardInterrupt
            return super().measure(choice, long=long, goal=goal)

    first = Interrupted((2, 3, 0, 1))
    search = search_of(first, storage)
    with pytest.raises(KeyboardInterrupt):
        search.run(lambda: True)
    kept = search.trials
    assert kept
    second = Hill((2, 3, 0, 1))
    search = search_of(second, storage)
    assert search.trials == kept
    search.run(lambda: len(search.trials) < len(kept) + 2)
    assert len(search.trials) == len(kept) + 2
    again = {choice for choice, _ in second.asked}
    assert not again & {trial.choice for trial in kept}


def test_rounds_of_finalists_alternate_add_up_and_are_whole(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    hill = Hill((2, 3, 0, 1), noise=0.01)
    search = search_of(hill, storage)
    search.run(lambda: len(search.trials) < 3)
    finalists = search.finalists()
    hill.asked.clear()
    search.confirm(finalists, 2, lambda: True)
    order = [choice for choice, _ in hill.asked]
    assert order == [*finalists, *finalists[::-1]]
    hill.asked.clear()
    later = search_of(hill, storage)
    # The third round ends in the middle and does not count.
    later.confirm(finalists, 1, lambda: len(hill.asked) < 1)
    assert {len(s.values) for s in later.confirmed(finalists).values()} == {2}


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [
        ([4.0, 5.0, 6.0], [1.0, 2.0, 3.0], 1 / 20),
        ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], 1.0),
        ([3.0, 4.0], [1.0, 2.0], 1 / 6),
        ([1.0] * 4, [1.0] * 4, 1.0),
        ([1.0], [], 1.0),
    ],
)
def test_the_rank_sum_test_is_exact(better: list[float], worse: list[float], p: float) -> None:
    assert chance(better, worse) == pytest.approx(p)


def test_the_rank_sum_test_of_many_repeats() -> None:
    assert chance([*range(20, 40)], [*range(20)]) < 1e-6
    assert chance([*range(20)], [*range(20)]) == pytest.approx(0.5, abs=0.1)


def test_a_clear_winner_is_crowned_with_its_ties() -> None:
    conclusion = judge(
        {
            "a": Summary((110.0, 111.0, 112.0, 113.0, 114.0)),
            "b": Summary((109.0, 112.5, 111.5, 113.5, 110.5)),
            "default": Summary((100.0, 101.0, 102.0, 103.0, 104.0)),
        },
        "default",
    )
    assert conclusion.winner == "a"
    assert conclusion.ties == ("b",)
    assert conclusion.gain == pytest.approx(0.098, abs=1e-3)
    assert "chance" in conclusion.text


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((101.0, 99.0, 104.0, 100.0, 103.0), "within the noise"),
        ((90.0, 91.0, 92.0, 93.0, 94.0), "below"),
        ((150.0, 151.0), "too few"),
    ],
)
def test_no_winner_inside_the_noise(other: tuple[float, ...], expected: str) -> None:
    base = Summary((100.0, 101.0, 102.0, 103.0, 99.5))
    conclusion = judge({"other": Summary(other), "default": base}, "default")
    assert conclusion.winner is None
    assert expected in conclusion.text


def test_winners_among_equals_are_rare() -> None:
    draw = random.Random(5)
    crowned = 0
    for _ in range(200):
        finalists = {
            name: Summary(tuple(draw.gauss(100, 2) for _ in range(5)))
            for name in ("a", "b", "c", "default")
        }
        crowned += judge(finalists, "default").winner is not None
    assert crowned <= 20


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["desktop", "dual_28", "nps4", "container", "hybrid", "arm"]),
    st.sampled_from(["Offline", "Server", "MultiStream"]),
)
def test_spaces_hold_the_default_and_layouts_that_straddle_nothing(name: str, where: str) -> None:
    topology = recorded(name)
    plan = make_plan(topology)
    default = Choice(Layout(len(plan.instances), plan.cores_per_instance), 4, "pull", 2)
    space = make_space(topology, where, default)
    assert space.choice(space.point(default)) == default
    domain = {p.id: (p.node, p.l3) for p in topology.cores}
    size = max(list(domain.values()).count(d) for d in set(domain.values()))
    for layout in space.layouts:
        plan = make_plan(topology, layout.instances, layout.cores)
        assert (len(plan.instances), plan.cores_per_instance) == (layout.instances, layout.each)
        if layout.each * 2 <= size:
            assert all(len({domain[p] for p in i.processors}) == 1 for i in plan.instances)
    for point in itertools.islice(space.points(), 0, None, 97):
        assert point not in space.neighbours(point)
        assert all(space.choice(near) for near in space.neighbours(point))


def test_where_loadrun_would_share_a_layout_leaves_cores_for_it() -> None:
    default = Choice(Layout(16, 4), 8, "pull", 2)
    layouts = make_space(recorded("arm"), "Offline", default).layouts
    assert Layout(15, 4) in layouts
    assert Layout(63, 1) in layouts


def test_tables_and_pictures_of_a_search(tmp_path: Path) -> None:
    search = search_of(Hill((2, 3, 0, 1)))
    search.run(lambda: len(search.trials) < 8)
    lines = trials_csv(search.trials).splitlines()
    assert lines[0].startswith("trial,instances,cores_each,batch,policy,in_flight,short,long")
    assert len(lines) == 9
    paths = write_all(search.trials, SPACE, "a title", "a machine", "samples/s", tmp_path)
    assert [path.name for path in paths] == ["throughput.svg", "parallel.svg", "progress.svg"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    table, parallel, progress = (Drawing(path.read_text()) for path in paths)
    best: dict[tuple[int, int], float] = {}
    for trial in search.trials:
        layout, batch, *_ = SPACE.point(trial.choice)
        best[layout, batch] = max(best.get((layout, batch), 0.0), trial.figure)
    # A cell, its name and its figure for whatever was tried; the rest stays empty.
    assert len(table.tips("rect")) == len(best)
    assert f"{max(best.values()):.4g}" in table.texts()
    assert {"batch size", "instances x cores of each", "1 x 8", "16"} <= {*table.texts()}
    assert len(parallel.find("polyline", "h")) == 8
    assert {"policy", "in flight", "round_robin", "figure"} <= {*parallel.texts()}
    assert len(progress.tips("circle")) == 8
    assert {"minutes of measuring", "samples/s"} <= {*progress.texts()}
    for drawing in (table, parallel, progress):
        assert {"a title", "a machine"} <= {*drawing.texts()}


@pytest.mark.parametrize("figures", [(), (0.0, 0.0), (5.0,)])
def test_pictures_of_a_search_that_found_little(tmp_path: Path, figures: Sequence[float]) -> None:
    trials = [Trial(k, DEFAULT, found, None, "start", 1.0) for k, found in enumerate(figures)]
    for path in write_all(trials, SPACE, "a title", "a machine", "samples/s", tmp_path):
        assert "nan" not in path.read_text()
        Drawing(path.read_text())


def tuned_here(**changes: object) -> Tuned:
    tuned = Tuned(
        model="resnet50",
        scenario="Offline",
        engine="onednn",
        precision="int8",
        machine=machine_key(read_topology()),
        max_latency_ms=None,
        instances=1,
        cores=1,
        batch_size=5,
        policy="round_robin",
        in_flight=3,
        figure=100.0,
        unit="samples/s",
        spread=0.01,
        repeats=5,
        gain=0.1,
        chance=0.004,
        made="2026-01-01T00:00:00+00:00",
    )
    return replace(tuned, **changes)  # type: ignore[arg-type]


def options(*words: str) -> RunOptions:
    parser = Parser()
    run_command.add_arguments(parser)
    return run_command.read_options(parser.parse_args(["resnet50", *words]))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOADRUN_CACHE", str(tmp_path))
    return tmp_path


def test_a_run_uses_what_was_tuned_for_it(cache: Path) -> None:
    assert options().batch_size == 8
    path = write_tuned(tuned_here())
    found = options()
    assert (found.instances, found.cores, found.batch_size) == (1, 1, 5)
    assert (found.policy, found.in_flight, found.tuned.path) == ("round_robin", 3, path)
    assert "+10.0% over the default" in str(found.tuned.notice)
    assert options("--policy", "pull").policy == "pull"
    assert options("--tuned").batch_size == 5


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--no-tuned"], None),
        (["--instances", "2"], "not used, as --instances is given"),
        (["--batch-size", "2"], "not used, as --batch-size is given"),
        (["--scenario", "server"], None),
        (["--engine", "sim"], None),
    ],
)
def test_a_run_does_not_use_what_was_tuned_for_another(
    cache: Path, words: list[str], expected: str | None
) -> None:
    write_tuned(tuned_here())
    found = options(*words)
    assert found.policy == SCENARIOS[found.scenario].policy
    assert found.tuned.path is None
    assert found.tuned.notice == expected


def test_tuned_for_another_machine_or_limit_is_not_used(cache: Path) -> None:
    write_tuned(tuned_here(machine="other"))
    found = options()
    assert (found.batch_size, found.tuned.path) == (8, None)
    assert "another machine" in str(found.tuned.notice)
    with pytest.raises(InputError, match="another machine"):
        options("--tuned")
    write_tuned(tuned_here(scenario="Server", max_latency_ms=100.0))
    assert "--max-latency 100" in str(options("--scenario", "server").tuned.notice)
    assert options("--scenario", "server", "--max-latency", "100").batch_size == 5


def test_tuned_asked_for_and_impossible(cache: Path) -> None:
    with pytest.raises(InputError, match="loadrun tune resnet50 --scenario offline"):
        options("--tuned")
    write_tuned(tuned_here())
    with pytest.raises(InputError, match="--tuned and --cores exclude"):
        options("--tuned", "--cores", "1")


@pytest.mark.parametrize("text", ["{", "[]", '{"model": "resnet50"}'])
def test_a_broken_tuned_configuration_names_its_file(cache: Path, text: str) -> None:
    path = tuned_path("resnet50", "Offline", "onednn", "int8")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(InputError, match=r"resnet50\.offline\.onednn\.int8\.json: not a tuned"):
        options()
    assert options("--no-tuned").batch_size == 8


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tune", "resnet50", "--scenario", "offlin"], "Offline"),
        (["tune", "resnet50", "--max-latency", "5"], "--max-latency is Server's limit"),
        (["tune", "resnet50", "--budget", "0"], "--budget"),
        (["tune", "resnet50", "--engine", "onnx"], "--engine onnx"),
        (["find-qps", "resnet50", "--durations", "5", "3"], "must grow"),
        (["find-qps", "resnet50", "--precision", "60"], "--precision 60"),
        (["find-qps", "resnet50", "--user-conf", "none.conf"], "no such file"),
    ],
)
def test_bad_options_get_one_line(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(words)
    except SystemExit as error:
        code = int(str(error.code))
    assert code == 2
    assert expected in capsys.readouterr().err


class Fake:
    """Stands for runs: the larger the batch, the better by `gain`, with 1% of noise."""

    gain = 0.1

    def __init__(self, *_: object) -> None:
        self.draw = random.Random(3)
        self.runs = 0

    def prepare(self, choice: Choice) -> None:
        self.runs += 1

    def measure(self, choice: Choice, *, long: bool, goal: float | None) -> float:
        self.runs += 1
        return (100 + 100 * self.gain * (choice.batch_size > 8)) * self.draw.gauss(1, 0.01)


WORDS = ("tune", "resnet50", "--trials", "5", "--rounds", "6", "--engine", "sim")


def test_a_session_writes_what_runs_then_use(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("launch.tune.session.RunEvaluator", Fake)
    monkeypatch.chdir(cache)
    assert main([*WORDS]) == 0
    shown = capsys.readouterr().out
    assert "winner: " in shown
    home = cache / "results/tune/offline/resnet50"
    found = json.loads((home / "tune.json").read_text())
    assert found["trials"] == 5
    assert found["verdict"]["gain"] == pytest.approx(0.1, abs=0.03)
    assert {p.suffix for p in home.iterdir()} >= {".svg", ".csv", ".db", ".json"}
    used = options("--engine", "sim")
    assert used.batch_size > 8
    assert used.tuned.path == tuned_path("resnet50", "Offline", "sim", "int8")


def test_a_session_without_a_winner_writes_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("launch.tune.session.RunEvaluator", Fake)
    monkeypatch.setattr(Fake, "gain", 0.0)
    monkeypatch.chdir(cache)
    assert main([*WORDS]) == 0
    assert "nothing is written: the default stands" in capsys.readouterr().out
    assert options("--engine", "sim").tuned.path is None
