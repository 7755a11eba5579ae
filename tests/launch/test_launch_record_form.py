"""The form of run.json: round trips, older and newer versions, damaged and foreign files."""

from __future__ import annotations

import copy
import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest
import records
from records import record, run_json

from base.errors import InputError
from launch.build.assets import Assets, DataFacts, SampleFacts
from launch.cli import main
from launch.commands.run import add_arguments, read_options
from launch.compliance.references import PERFORMANCE, find_reference, place
from launch.machine.pinning import Binding, find_pinning
from launch.machine.topology import read_topology
from launch.outcome.advice import advice
from launch.outcome.record.history import facts
from launch.outcome.record.processes import EngineRecord
from launch.outcome.record.run import SCHEMA, Record, load
from launch.outcome.recorder import Recorder
from launch.outcome.summary import summary
from launch.report.page import run_page
from launch.run import plan_for
from launch.supervise.deaths import Cause, Death
from launch.supervise.supervisor import Outcome
from loadrun.report import InstanceReport, Report, as_text

FIRST = Path(__file__).with_name("older_runs") / "first.json"
"""What the first version wrote (SubmissionRun, --engine sim), with fewer settings and fields."""
LATER = (
    ("host.max_cpu_isa",),
    ("host.isa", "host.vnni"),
    ("plan.spins",),
    ("checks", "disturbance", "not_quiet", "host.features"),
    ("tuned",),
    ("topology", "timeline", "history"),
    ("round",),
    ("clock", "times_count"),
    ("labels_from", "calibration_sha256"),
    ("alarm", "poison", "deaths[].cause"),
    ("accuracy.doubts",),
    ("environment", "preloaded"),
)
"""The keys that came later, as they came together; not all have come in this order."""


def without(values: dict[str, Any], path: str) -> None:
    """Leave out what stands at `path`, of each item of a list where that ends in []."""
    name, _, more = path.partition(".")
    if not more:
        del values[name]
    elif name.endswith("[]"):
        for item in values[name[:-2]]:
            without(item, more)
    else:
        without(values[name], more)


def whole_run() -> dict[str, Any]:
    """A run.json in which every part is there and none is empty."""
    engine = {"instance": 0, "rate": 150.0, "details": {"onednn": "3.2", "batch_ms": [6.0, 11.0]}}
    run: dict[str, Any] = run_json(
        compared_with={"PerformanceOnly": "run0"},
        checks=[{"check": "swap", "level": "note", "found": "on", "effect": "", "cure": "off"}],
        disturbance={
            "seconds": 9.0,
            "steal": 0.0,
            "other_work": 0.1,
            "throttled_s": None,
            "thermal_throttles": 0,
            "load_average": [0.1, 0.2, 0.3],
        },
        not_quiet=["the machine was not quiet"],
        deaths=[records.death()],
        alarm="Once an instance gave no sign of life",
        poison={"samples": [7], "files": [None]},
        engines={"0": {**engine, "memory_node": None}},
        clock=[
            {
                "seconds": 4.0,
                "steps": [[1.0, 0.5]],
                "drift_s": 0.0,
                "slew": 0.0,
                "suspended_s": 0.0,
                "late": [[5, 9]],
            }
        ],
        accuracy=records.accuracy(doubts=["it is odd"], metric="accuracy"),
        task="resnet50",
        benchmark="resnet50",
    )
    earlier = Record.from_json({**run, "history": None})
    run["history"] = [json.loads(json.dumps(vars(facts(earlier))))]
    return run


def test_a_record_is_written_as_it_was_read() -> None:
    values = whole_run()
    read = Record.from_json(values)
    assert read.as_json() == values
    assert Record.from_json(json.loads(as_text(read.as_json()))) == read


def test_values_not_known_yet_are_not_written() -> None:
    parser = ArgumentParser()
    add_arguments(parser)
    options = read_options(parser.parse_args(["resnet50", "--engine", "sim"]))
    topology = read_topology()
    plan = plan_for(options, topology)
    recorder = Recorder(options, plan, find_pinning(topology), topology, "abcd")

    def written() -> set[str]:
        values = recorder.record.as_json()
        assert Record.from_json(json.loads(as_text(values))) == recorder.record
        return set(values)

    at_first = written()
    assert at_first == {
        *("schema", "run_id", "status", "error", "command", "started", "model", "scenario"),
        *("mode", "audit", "round", "engine", "precision", "batch_size", "in_flight", "policy"),
        *(
            "in_process",
            "tuned",
            "label",
            "task",
            "benchmark",
            "plan",
            "pinning",
            "host",
            "environment",
            "preloaded",
        ),
        *("topology", "versions", "timings_s"),
    }
    data = DataFacts("images", "ab", synthetic=False)
    samples = SampleFacts("s.npy", 3, 0, data)
    recorder.prepared(Assets("resnet50", samples, None, None, [], None, "no labels", ["a note"]))
    prepared = written()
    assert prepared - at_first == {
        *("data", "labels_from", "weights", "calibration", "calibration_sha256", "notes"),
        *("artifact", "synthetic"),
    }
    recorder.disturbance(None)
    recorder.outcome(
        Outcome(
            bindings={0: Binding((0,), "bind:0")},
            deaths=[Death(0, 1.0, "crashed", Cause.SILENT, "")],
            stops=[(1, 2.0)],
        )
    )
    recorder.engines({0: EngineRecord(instance=0)})
    served = written()
    assert served - prepared == {
        *("disturbance", "not_quiet", "bindings", "deaths", "alarm", "poison"),
        *("removed_segments", "engines"),
    }
    report = Report("r", settings={"min_query_count": 1}, measured_rate=9.0, notes=["noted"])
    report.instances = [InstanceReport(0, 5, 2, 0.5, 9.0)]
    recorder.report(report)
    assert written() - served == {
        *("settings", "target_source", "expected_duration_s", "duration_s", "instances"),
        *("standalone_rate", "harness_efficiency", "redispatched_samples", "timeline"),
    }
    values = recorder.record.as_json()
    assert values["notes"] == ["a note", "noted"]
    assert values["data"] == {"name": "images", "sha256": "ab", "synthetic": False, "samples": 3}
    assert values["deaths"][0]["cause"] == "gave no sign of life"
    assert "instance 1 was stopped for about 2 s" in values["not_quiet"][0]


def test_what_the_first_version_wrote_is_read() -> None:
    values = json.loads(FIRST.read_text())
    died = records.death()
    del died["cause"]
    values["deaths"] = [died]
    read = Record.from_json(values)
    assert (read.options.tuned, read.options.round) == (None, None)
    assert (read.plan.spins, read.topology, read.host.isa) == (None, None, None)
    assert (read.checks, read.clock, read.times_count) == (None, None, None)
    assert read.processes.deaths[0].cause is None
    assert read.processes.engines["0"].more == {"load_s": 0.018}
    assert read.processes.engines["0"].details.more["service"]["sample_ms"] == 4.3
    assert read.accuracy is not None
    assert read.accuracy.doubts == ()
    assert summary(read)[-1] == read.accuracy.text
    page = run_page(read)
    assert "kept no timeline" in page
    again = read.as_json()
    for key, value in values.items():
        if isinstance(value, dict):
            assert value.items() <= again[key].items() or key in ("engines", "plan", "host")
        elif key != "deaths":
            assert again[key] == value, key


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("came", range(len(LATER)), ids=lambda at: LATER[at][0])
def test_every_older_form_is_read(came: int, alone: bool) -> None:
    values = whole_run()
    left_out = LATER[came] if alone else [path for later in LATER[came:] for path in later]
    for path in left_out:
        without(values, path)
    kept = copy.deepcopy(values)
    read = Record.from_json(values)
    assert values == kept
    assert summary(read)
    assert run_page(read)
    assert advice(read) is not None
    again = Record.from_json(read.as_json())
    assert again == read
    assert again.measured.standalone_rate == 290.0


def test_keys_that_nobody_knows_are_kept_beside_the_options() -> None:
    read = record(label="a note")
    assert read.options.more == {"label": "a note"}
    assert read.as_json()["label"] == "a note"


def test_a_newer_version_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"schema": SCHEMA + 1, "everything": "else"}))
    assert main(["report", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{path}: not the record of a run (schema is {SCHEMA + 1}, from a newer loadrun" in error


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("schema", "1", "schema is '1'; expected int"),
        ("run_id", None, "run_id is None; expected str"),
        ("batch_size", "four", "batch_size is 'four'; expected int"),
        ("command", "loadrun run", "command is 'loadrun run'; expected"),
        ("plan.instances", [{"index": 0}], "missing key 'plan.instances[0].processors'"),
        ("host.cores", 1.5, "host.cores is 1.5; expected int"),
        ("topology", [[0, 0, 0]], "topology is [[0, 0, 0]]; expected"),
        ("instances", [{"instance": "x"}], "instances[0].instance is 'x'; expected int"),
        ("deaths", [3], "deaths[0] must be an object"),
        ("checks", [{"check": "a", "level": "bad", "found": ""}], "checks[0].level is 'bad'"),
        ("timeline.histogram", None, "timeline.histogram must be an object"),
        ("timeline.batch_sizes", [{"1": "x"}], "timeline.batch_sizes is [{'1': 'x'}]"),
        ("engines", {"0": {"details": {"batch_ms": "x"}}}, "engines.0.details.batch_ms is 'x'"),
        ("result.metric", {"value": 1.0}, "missing key 'result.metric.name'"),
        ("result", None, "missing key 'result'"),
        ("accuracy", {"text": ""}, "missing key 'accuracy.value'"),
        ("history", [{"figure": 1.0}], "missing key 'history[0].run_id'"),
    ],
)
def test_a_value_that_does_not_fit_is_named(
    tmp_path: Path, path: str, value: object, expected: str
) -> None:
    values = whole_run()
    *above, last = path.split(".")
    holder = values
    for name in above:
        holder = holder[name]
    holder[last] = value
    file = tmp_path / "run.json"
    file.write_text(json.dumps(values))
    with pytest.raises(InputError) as caught:
        load(file, "put it away")
    text = str(caught.value)
    assert text.startswith(f"{file}: not the record of a run (")
    assert expected in text
    assert text.endswith("; put it away")
    assert "\n" not in text


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"run"', '{"a": 1}', "[" * 100_000])
def test_a_foreign_file_is_named_where_a_run_is_looked_for(tmp_path: Path, text: str) -> None:
    parser = ArgumentParser()
    add_arguments(parser)
    words = ["resnet50", "--engine", "sim", f"--results={tmp_path}"]
    options = read_options(parser.parse_args(words))
    assert find_reference(options, PERFORMANCE) is None
    where = place(options, PERFORMANCE)
    where.mkdir(parents=True)
    (where / "run.json").write_text(text)
    with pytest.raises(InputError, match="--results") as caught:
        find_reference(options, PERFORMANCE)
    assert str(caught.value).startswith(str(where / "run.json"))
    (where / "run.json").write_text(json.dumps(run_json(status="FAILED", error="it fell")))
    assert find_reference(options, PERFORMANCE) is None
    (where / "run.json").write_text(json.dumps(run_json()))
    assert find_reference(options, PERFORMANCE) == record()
