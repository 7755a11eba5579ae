"""Times of batch sizes: from facts and run.json to words, table, chart and picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import Drawing
from netrun_facts import SLOW_FOUR, facts_of
from records import record

from launch.cli import Parser
from launch.commands.roofline import add_arguments, read_options
from launch.machine.doctor.artifacts import check_artifacts
from launch.machine.doctor.finding import Level
from launch.outcome.record.run import Record
from launch.roofline.options import RooflineOptions
from launch.roofline.sizes import draw as draw_picture
from launch.screen.terminal import Terminal
from launch.sizes.chart import chart, series
from launch.sizes.figures import Size, from_facts, from_record, measured
from launch.sizes.table import COLUMNS, cut, draw, rows, sentences
from models import artifact
from netrun.engines.onednn import pack
from netrun.engines.onednn.pack import KIND


def detailed(**details: Any) -> Record:
    return record(engines={"0": {"details": details}, "1": {"details": {}}})


def test_sizes_are_those_of_the_artifact() -> None:
    found = from_facts(SLOW_FOUR)
    assert [size.way for size in found] == [
        *("as it is", "as it is", "in parts 2 + 2, filled up", "filled up to 5", "as it is")
    ]
    assert [size.sample_ms for size in found] == [4.0, 3.0, 4.0, 2.75, 2.2]
    assert found[3].own_sample_ms == 10.0
    assert found[4].rate == pytest.approx(1000 / 2.2)
    assert Size(4, 9.0, (1, 3)).way == "in parts 1 + 3"
    assert found[3].as_json() == {
        "samples": 4,
        "own_ms": 40.0,
        "ms": 11.0,
        "ms_per_sample": 2.75,
        "samples_per_s": pytest.approx(1000 / 2.75),
        "runs": [5],
    }


def test_sizes_of_a_run_are_those_of_its_first_instance() -> None:
    found = from_record(detailed(batch_ms=[4.0, 6.0, 12.0], batches={"3": [2, 2]}))
    assert [(size.samples, size.ms, size.runs, size.own_ms) for size in found] == [
        (1, 4.0, (1,), None),
        (2, 6.0, (2,), None),
        (3, 12.0, (2, 2), None),
    ]


@pytest.mark.parametrize(
    "run",
    [
        *(record(), record(engines={}), record(engines=None), record(engines={"0": {}})),
        detailed(isa="AVX2"),
    ],
)
def test_a_run_of_another_version_or_engine_has_none(run: Record) -> None:
    assert from_record(run) == []


def test_only_measured_sizes_are_shown_and_those_run_otherwise() -> None:
    batches = [[n] for n in range(1, 41)]
    batches[30] = [32]
    found = from_facts(facts_of([float(n) for n in range(1, 41)], batches))
    assert [size.samples for size in measured(found)] == [
        *(*range(1, 17), 18, 20, 22, 24, 26, 28, 30, 31, 32, 36, 40)
    ]
    assert "times of sizes between these are interpolated" in sentences(found, facts_of([1.0]))
    assert measured([]) == []


def test_the_table_shows_how_each_size_is_run() -> None:
    found = from_facts(SLOW_FOUR)
    assert rows(found)[2:] == [
        ("3", "25.00", "12.00", "4.000", "250.0", "in parts 2 + 2, filled up"),
        ("4", "40.00", "11.00", "2.750", "363.6", "filled up to 5"),
        ("5", "11.00", "11.00", "2.200", "454.5", "as it is"),
    ]
    stream = io.StringIO()
    Terminal(stream).table(draw(found))
    head, _, *body = stream.getvalue().splitlines()
    assert head.split() == " ".join(COLUMNS).split()
    assert [line.split() for line in body] == [" ".join(row).split() for row in rows(found)]


def test_sentences_name_the_best_size_the_slow_ones_and_the_cut() -> None:
    assert sentences(from_facts(SLOW_FOUR), SLOW_FOUR) == [
        "least time of a sample: 2.200 ms in batches of 5 (454.5 samples/s); alone 4.00 ms",
        "as they are, batches of 3, 4 would take longer than filled up or in parts",
        "cut of batches of 5 (half the cache): 1 operation by 1, 7 operations by 5; ms for each"
        " way: cache 12.00, half the cache 11.00",
        "oneDNN has only its reference kernel, which is very slow, for pool (3-4 samples at once)",
    ]
    even = facts_of([2.0, 3.0])
    assert sentences(from_facts(even), even)[1:] == [
        "every size is run as it is: none takes longer than a larger one, or in parts",
        cut(even),
    ]
    assert cut(facts_of([2.0])).startswith("cut of a lone sample (half the cache): ")


def test_a_second_line_shows_sizes_that_are_run_otherwise() -> None:
    own, run = series(from_facts(SLOW_FOUR))
    assert [y for _, y in own.points] == [4.0, 3.0, 25 / 3, 10.0, 2.2]
    assert [y for _, y in run.points] == [4.0, 3.0, 4.0, 2.75, 2.2]
    (only,) = series(from_facts(facts_of([2.0, 3.0])))
    assert only.name == "as run"
    (kept,) = series(from_record(detailed(batch_ms=[4.0, 6.0, 12.0], batches={"3": [2, 2]})))
    assert [y for _, y in kept.points] == [4.0, 3.0, 4.0]


def test_a_cliff_does_not_hide_the_rest() -> None:
    """Beside a size that takes a thousand times longer the others still differ visibly."""
    lines = series(from_facts(facts_of([6.0, 9.0, 15_000.0], [[1], [2], [1, 2]])))
    drawn = chart(lines)
    one, two, three = (drawn.y(y) for _, y in lines[0].points)
    assert two - one > 5
    assert two - three > 100
    even = chart(series(from_facts(SLOW_FOUR)))
    assert even.y(0.0) == even.y.ends[0]


def test_the_picture_shows_both_lines_and_the_ways_to_cut() -> None:
    text = draw_picture(from_facts(SLOW_FOUR), SLOW_FOUR, "MobileNet", "a processor")
    drawing = Drawing(text)
    assert {
        *("MobileNet, 455 samples/s at best", "a processor", "as run", "each size as it is"),
        *("ms per sample", "samples in a batch", "1", "2", "3", "4", "5"),
        *("cache", "half the cache", "11.00 ms, chosen", "12.00 ms"),
    } <= {*drawing.texts()}
    tips = drawing.tips("circle")
    assert "each size as it is, 4 samples in a batch: 10 ms per sample" in tips
    assert "as run, 4 samples in a batch: 2.75 ms per sample" in tips
    assert len(tips) == 10
    assert drawing.tips("rect") == ["cache: 12.00 ms", "half the cache: 11.00 ms, chosen"]
    alone = facts_of([2.0])
    alone["cuts_ms"] = {"cache": 2.0}
    lone = Drawing(draw_picture(from_facts(alone), alone, "MobileNet", "a processor"))
    assert lone.tips("circle") == ["as run, 1 samples in a batch: 2 ms per sample"]


def options_of(folder: Path, *words: str) -> RooflineOptions:
    parser = Parser()
    add_arguments(parser)
    return read_options(parser.parse_args(["mobilenet", "--results", str(folder), *words]))


def test_sizes_have_files_and_a_default_batch_size_of_their_own(tmp_path: Path) -> None:
    plain, sizes = options_of(tmp_path), options_of(tmp_path, "--sizes")
    assert (plain.batch_size, sizes.batch_size) == (1, 16)
    assert options_of(tmp_path, "--sizes", "--batch-size", "1").batch_size == 1
    assert plain.picture_path == tmp_path / "roofline/mobilenet.svg"
    assert sizes.picture_path == tmp_path / "roofline/mobilenet-sizes.svg"
    assert sizes.json_path == tmp_path / "roofline/mobilenet-sizes.json"
    other = str(tmp_path / "other.svg")
    assert options_of(tmp_path, "--sizes", "--picture", other).picture_path == Path(other)


def compiled(cache: Path, name: str, references: dict[str, list[int]], **machine: Any) -> None:
    """An artifact for this machine, but for the given fields, with data that are broken."""
    facts = {"references": references, "machine": {"batch_size": 8, "threads": 1, **machine}}
    path = cache / "artifacts" / name
    artifact.write(path, KIND, facts, {"a": np.arange(99)})
    path.write_bytes(path.read_bytes()[:-1])


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with the library 1."""

    def machine_facts(lib: object, batch_size: int, threads: int) -> dict[str, Any]:
        return {"batch_size": batch_size, "threads": threads, "library": "1"}

    monkeypatch.setattr("launch.machine.doctor.artifacts.machine_facts", machine_facts)
    monkeypatch.setattr(pack, "machine_facts", machine_facts)
    monkeypatch.setattr("launch.machine.doctor.artifacts.library.load", lambda: None)


@pytest.mark.usefixtures("here")
def test_doctor_names_models_with_reference_kernels(tmp_path: Path) -> None:
    assert list(check_artifacts(tmp_path)) == []
    compiled(tmp_path, "mobilenet-onednn-b8-t1-0", {}, library="1")
    (fine,) = check_artifacts(tmp_path)
    assert (fine.level, fine.found) == (Level.OK, "1 compiled model, no reference kernel in use")
    compiled(tmp_path, "resnet50-onednn-b8-t1-1", {"pool": [1, 2], "fc": [8]}, library="1")
    compiled(tmp_path, "resnet50-onednn-b8-t1-2", {"fc": [8]}, library="another")
    (tmp_path / "artifacts/resnet50-onednn-b8-t1-3").write_bytes(b"no artifact")
    (tmp_path / "artifacts/resnet50-int8-4").write_bytes(b"a program")
    (slow,) = check_artifacts(tmp_path)
    assert slow.level is Level.MATTERS
    assert slow.found == (
        "resnet50-onednn-b8-t1-1: only oneDNN's reference kernel for pool (1-2 samples at once),"
        " fc (8 samples at once)"
    )
    assert "--engine pytorch" in slow.cure
