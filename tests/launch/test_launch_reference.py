"""The reference's words in ours: every flag, files where its variables say, and one real run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

import models
from base.errors import InputError
from launch.cli import main, parsers
from launch.reference.flags import BY_NAME, FLAGS
from launch.reference.places import PLACES
from launch.reference.words import translate
from launch.spellings import hyphenated
from launch.supervise.environment import PACKAGE_ROOT

DLRM = ["pytorch", "dlrm", "terabyte", "cpu"]
SINGLE = "--scenario=SingleStream"


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        (DLRM, ["dlrm", "--engine=pytorch", "--precision=fp32", SINGLE]),
        (["onednn", "resnet50", "cpu"], ["resnet50", "--engine=onednn", SINGLE]),
        (
            [*DLRM, "--accuracy"],
            [*("dlrm", "--engine=pytorch", "--precision=fp32", "--mode=AccuracyOnly"),
             "--targets-in-log", SINGLE],
        ),
        (
            [*DLRM, "--time", "10", "--max-latency", "0.2", "--count=100"],
            [*("dlrm", "--engine=pytorch", "--precision=fp32", "--time=10", "--max-latency=200"),
             "--count=100", SINGLE],
        ),
        (
            ["onnxruntime", "dlrm", "multihot-criteo", "cpu", "--max-batchsize=2048", "--qps", "5"],
            [*("dlrm-v2", "--engine=onnxruntime", "--precision=fp32", "--batch-size=8", "--qps=5"),
             SINGLE],
        ),
        (
            ["onednn", "mobilenet", "cpu", "--max-batchsize", "8", "--scenario=Offline", "--fast"],
            ["mobilenet", "--engine=onednn", "--batch-size=8", "--scenario=Offline", "--fast"],
        ),
        (
            ["pytorch", "resnet50", "cpu", "--engine", "onednn", "--precision=int8"],
            [*("resnet50", "--engine=pytorch", "--precision=fp32", "--engine", "onednn"),
             "--precision=int8", SINGLE],
        ),
        (
            ["onednn", "ssd-resnet34", "cpu", "--dataset-list", "a.json", "--duration", "1500"],
            ["ssd-resnet34", "--engine=onednn", "--annotations=a.json", "--time=1.5", SINGLE],
        ),
        (
            ["pytorch", "retinanet", "cpu", "--model", "a.pth", "--dataset-list=a.json"],
            [*("retinanet", "--engine=pytorch", "--precision=fp32", "--weights=a.pth"),
             "--annotations=a.json", SINGLE],
        ),
        ([*DLRM, "--model=dlrm"], ["dlrm", "--engine=pytorch", "--precision=fp32", SINGLE]),
    ],
)  # fmt: skip
def test_the_references_words_are_ours(words: list[str], ours: list[str]) -> None:
    assert translate(words, {}).words == ours


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (DLRM[:2], "expected BACKEND MODEL"),
        (["tf", "resnet50", "cpu"], "BACKEND tf: unknown"),
        (["pytorch", "dlrm", "terrabyte", "cpu"], "nearest: dlrm terabyte"),
        (["pytorch", "resnet50", "gpu"], "DEVICE gpu: loadrun runs on CPUs"),
        ([*DLRM, "--use-gpu"], "leave it out"),
        ([*DLRM, "--count"], "--count: its value is missing"),
        ([*DLRM, "--max-latency", "soon"], "--max-latency soon: is not a number"),
        ([*DLRM, "--numpy-rand-seed=1"], "is that of 123"),
        ([*DLRM, "--audit_conf=audit.config"], "loadrun audit"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        translate(words, {})


@pytest.mark.parametrize("flag", ["--mlperf_conf", "--mlperf-conf"])
def test_a_flag_may_have_underscores_or_hyphens(flag: str) -> None:
    """The command line turns the first into the second before its words are read."""
    found = translate(["pytorch", "resnet50", "cpu", flag, "mlperf.conf"], {})
    assert found.words == ["resnet50", "--engine=pytorch", "--precision=fp32", SINGLE]
    assert found.notes[0].startswith(f"{flag}: changes nothing here")


def test_every_flag_becomes_options_of_run_or_is_explained() -> None:
    run = parsers()[1]["run"]
    known = {name for action in run._actions for name in action.option_strings}
    values = {"--numpy-rand-seed": "123", "--duration": "9"}
    assert all(hyphenated(name) == name for name in BY_NAME)
    tried = 0
    for name, flag in BY_NAME.items():
        if flag.here.startswith("refused"):
            continue
        words = [*DLRM, name] if flag.switch else [*DLRM, name, values.get(name, "7")]
        found = translate(words, {})
        before = translate(DLRM, {})
        added = [word for word in found.words if word not in before.words]
        assert bool(added) or len(found.notes) > len(before.notes) or name == "--numpy-rand-seed"
        for word in added:
            assert word.partition("=")[0] in known, word
        tried += 1
    assert tried > 40


def test_the_table_in_the_documentation_has_every_flag() -> None:
    text = (PACKAGE_ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    for flag in FLAGS:
        row = f"| {', '.join(f'`{name}`' for name in flag.names)} | {flag.here} |"
        assert row in text, row


def test_models_are_tasks_that_have_the_options_of_their_data() -> None:
    run = parsers()[1]["run"]
    known = {name for action in run._actions for name in action.option_strings}
    for place in PLACES.values():
        assert models.get(place.task).name == place.task
        assert {flag for flag, _ in place.data} <= known


def test_files_lie_where_the_references_variables_say(tmp_path: Path) -> None:
    environment = {"DATA_DIR": str(tmp_path / "data"), "MODEL_DIR": str(tmp_path)}
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match=r"MODEL_DIR .*: holds none of dlrm_terabyte.pytorch, "):
        translate(DLRM, environment)
    (tmp_path / "tb00_40M.pt").touch()
    words = translate(DLRM, environment).words
    assert words[-2:] == [f"--weights={tmp_path}/tb00_40M.pt", f"--data={tmp_path}/data"]
    given = translate([*DLRM, "--model-path=a.pt", "--dataset-path", "b"], environment).words
    assert "--weights=a.pt" in given
    assert "--data=b" in given
    placed = {"OUTPUT_DIR": "out"}
    assert translate(DLRM, placed).words[-1] == "--results=out"
    assert "--results=out" not in translate([*DLRM, "--output=there"], placed).words
    extra = {**environment, "EXTRA_OPS": "--time 5 --qps '9'"}
    assert "--time=5" in translate(DLRM, extra).words
    with pytest.raises(InputError, match=r"DATA_DIR .*: holds no val2017"):
        translate(["pytorch", "ssd-resnet34", "cpu", "--model-path=x"], environment)


def test_a_run_in_the_references_words(
    tmp_path: Path,
    synthetic_cache: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MODEL_DIR", raising=False)
    monkeypatch.setenv("LOADRUN_CACHE", str(synthetic_cache))
    words = [*("onednn", "mobilenet", "cpu", "--engine=sim", "--time", "0.2", "--count=50"),
             *("--cache", "1", "--output", str(tmp_path))]  # fmt: skip
    code = main(["run-local", *words])
    output = capfd.readouterr().out
    assert code in (0, 3), output
    assert "note: --cache: changes nothing here" in output
    (record,) = tmp_path.rglob("performance/run_1/run.json")
    assert json.loads(record.read_text(encoding="utf-8"))["scenario"] == "SingleStream"


def test_the_command_takes_any_words() -> None:
    arguments = parsers()[1]["run-local"].parse_args(["onednn", "resnet50", "cpu", "--fast"])
    assert isinstance(arguments, argparse.Namespace)
    assert arguments.words == ["onednn", "resnet50", "cpu", "--fast"]
