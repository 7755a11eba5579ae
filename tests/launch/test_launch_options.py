"""Options are declared once: whatever is declared is where the declaration says."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import re
import sys
import types
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from toys import Toy

import models
import models.options
from base.errors import InputError
from base.options import Goes, Option, count, one_line, positive, whole
from launch.cli import Parser, main, parsers
from launch.commands.run import add_arguments, read_options
from launch.completion.words import Takes, read
from launch.options import RunOptions, find_sources
from launch.options.run import TunedUse
from launch.options.sources import sources_of
from launch.reference.flags import BY_NAME
from launch.supervise.environment import PACKAGE_ROOT
from launch.tune.options import TuneOptions
from launch.tune.tuned import tuned_path
from loadrun.config import LoadrunConfig
from models.criteo.options import share
from models.imagenet.classifier import classifiers
from netrun.config import NetrunConfig

DECLARED = [
    pytest.param(command, name, option, id=f"{command} {option.usage}")
    for command, cls in (("run", RunOptions), ("tune", TuneOptions))
    for name, option in cls.options().items()
]
PRODUCT = ("base", "shm", "models", "loadrun", "netrun", "launch")
FOREIGN = {
    *("--cap-add", "--cpus", "--cpuset-cpus", "--memory", "--pids-limit", "--security-opt"),
    *("--shm-size", "--upgrade", "--force-reinstall", "--input", "--csv", "--no-", "--option"),
    "--annotations",
    "--use-inv-map",
}
"""Flags of docker, pip, the submission checker and accuracy scripts, and those of examples."""


def parse(words: list[str]) -> argparse.Namespace:
    parser = Parser()
    add_arguments(parser)
    return parser.parse_args(words)


def values_of(option: Option) -> st.SearchStrategy[Any]:
    """What the user may give for an option, as it is when it was parsed."""
    if option.switch:
        return st.sampled_from([None, True, False] if option.negatable else [False, True])
    if option.names is not None:
        return st.sampled_from(list(option.names()))
    if option.metavar in ("FILE", "PATH", "DIR"):
        return st.sampled_from([None, "here/x", "/a b/c=d"])
    numbers: dict[Callable[[str], Any], st.SearchStrategy[Any]] = {
        count: st.integers(1, 10**9),
        whole: st.integers(0, 10**9),
        one_line: st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=200)
        .map(str.strip)
        .filter(bool),
        positive: st.floats(0, 1e12, exclude_min=True, allow_subnormal=False),
        share: st.floats(0, 1, exclude_max=True),
    }
    return st.none() | numbers[option.parse]


GIVEN = st.fixed_dictionaries({n: values_of(option) for n, option in RunOptions.options().items()})


@pytest.mark.parametrize(("command", "name", "option"), DECLARED)
def test_declared_options_are_in_parser_help_and_completion(
    command: str, name: str, option: Option
) -> None:
    parser = parsers()[1][command]
    (action,) = [action for action in parser._actions if action.dest == name]
    assert option.flag in action.option_strings or not option.flag
    assert action.help == option.explained
    words = read(command, "", parser)
    (offered,) = [
        argument
        for argument in (words.options if option.flag else words.positions)
        if (option.flag in argument.names if option.flag else argument.metavar == option.metavar)
    ]
    if option.switch:
        assert offered.takes is Takes.NOTHING
    elif option.names is not None:
        assert offered.words == tuple(option.names())
    elif option.path:
        assert offered.takes in (Takes.FILE, Takes.DIRECTORY)


@given(values=GIVEN)
def test_words_give_back_the_values_they_came_from(values: dict[str, Any]) -> None:
    found = vars(parse(RunOptions.asking(**values)))
    assert found.keys() == values.keys()
    for name, option in RunOptions.options().items():
        given = option.default if values[name] is None else values[name]
        assert found[name] == given, name


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A path that is there for each option that names one."""
    folder = tmp_path_factory.mktemp("of options")
    file = folder / "file"
    file.touch()
    options = RunOptions.options().items()
    named = [name for name, option in options if option.metavar in ("FILE", "PATH", "DIR")]
    return {n: str(folder if RunOptions.options()[n].metavar == "DIR" else file) for n in named}


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(values=GIVEN, with_data=st.booleans())
def test_checked_options_come_back_from_words_and_from_json(
    paths: dict[str, str], values: dict[str, Any], with_data: bool
) -> None:
    with_data &= values["model"] in classifiers()
    there = {name: path if with_data else None for name, path in paths.items()}
    # Data go by two names, and an option of another task is refused.
    own = models.options.of_task(models.get(values["model"]))
    strange = {option.name for option in models.options.declared()} - own
    there |= dict.fromkeys(("data", *strange), None)
    values |= {option.name: None for option in models.options.declared() if not option.path}
    if values["strict"]:
        values["oversubscribe"] = False
    values |= {**there, "user_conf": paths["user_conf"], "tuned": False}
    # They are part of the name, of an ONNX file or a benchmark.
    values |= {"task": None, "like": None, "config_ver": None}
    # Most that exclude each other are of these.
    values |= {"audit": None} if values["mode"] != "PerformanceOnly" else {}
    values |= {"min_duration_ms": None} if values["time_s"] else {}
    values |= {"min_query_count": None} if values["count"] else {}
    try:
        options = read_options(parse(RunOptions.asking(**values)))
    except InputError:
        assume(False)
    again = read_options(parse(options.words()))
    assert again == options
    as_json = json.loads(json.dumps(options.as_json()))
    assert as_json.keys() == RunOptions.options().keys()
    assert RunOptions.from_json(as_json) == options


def test_run_json_holds_the_options_declared_for_it() -> None:
    options = read_options(parse(["resnet50", "--engine=sim", "--no-tuned"]))
    recorded = options.recorded()
    assert recorded.keys() - {"in_process", "tuned"} == {*RunOptions.going(Goes.RECORD)}
    assert json.loads(json.dumps(recorded)) == recorded
    of_records = Goes.KIND | Goes.SETTING | Goes.AUDIT | Goes.SHOWN
    for name, option in RunOptions.options().items():
        assert not option.goes & of_records or Goes.RECORD in option.goes, name


def test_the_tuned_configuration_that_is_used_goes_into_json(tmp_path: Path) -> None:
    options = read_options(parse(["resnet50", "--engine=sim", "--no-tuned"]))
    values = {**vars(options), "tuned": TunedUse(tmp_path / "t.json", "found")}
    used = RunOptions(**values)
    assert used.recorded()["tuned"] == "t.json"
    assert RunOptions.from_json(json.loads(json.dumps(used.as_json()))).tuned == used.tuned


@pytest.mark.parametrize(
    ("where", "config"), [(Goes.LOADRUN, LoadrunConfig), (Goes.INSTANCES, NetrunConfig)]
)
def test_processes_have_a_field_for_what_goes_to_them(where: Goes, config: type) -> None:
    assert {*RunOptions.going(where)} <= {item.name for item in fields(config)}


def test_an_unknown_option_cannot_be_asked_for() -> None:
    with pytest.raises(KeyError):
        RunOptions.asking(batchsize=3)


class Foldered(Toy):
    __module__ = "models.toy"


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A task in a folder of models/ that declares three options."""
    folder = types.ModuleType("models.toy")
    folder.TOY = Foldered()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "models.toy", folder)
    monkeypatch.setitem(models.TASKS, "toy", "models.toy:TOY")
    module = types.ModuleType("models.toy.options")
    module.OPTIONS = (  # type: ignore[attr-defined]
        Option("--annotations FILE", "JSON of the images", path="file", variable="TOY_JSON"),
        Option("--most-pairs N", "pairs of a sample at most", parse=count),
        Option("--bin-loader", "read the binary file"),
    )
    monkeypatch.setitem(sys.modules, "models.toy.options", module)
    monkeypatch.setattr(models.options, "FOLDERS", ("imagenet", "toy"))
    return module


def test_a_task_declares_options_in_its_folder(
    task: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.json"
    file.touch()
    words = ["toy", "--no-tuned", f"--annotations={file}", "--most-pairs=7", "--bin-loader"]
    options = read_options(parse(words))
    given = {"annotations": file, "most_pairs": 7, "bin_loader": True}
    assert options.sources.task == {"labels": None, **given}
    assert {*words[2:]} <= {*options.words()}
    assert read_options(parse(options.words())) == options
    assert RunOptions.from_json(json.loads(json.dumps(options.as_json()))) == options
    monkeypatch.setenv("TOY_JSON", str(file))
    assert sources_of(parse(["toy"]), models.get("toy")).task["annotations"] == file
    # What a variable says is for those who ask for it.
    assert sources_of(parse(["mobilenet"]), models.get("mobilenet")).task["annotations"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["resnet50", "--most-pairs=7"], "--most-pairs 7: an option of toy, not of resnet50"),
        (["mobilenet", "--bin-loader"], "--bin-loader: an option of toy, not of mobilenet"),
        (["toy", "--labels=a"], "--labels a: an option of resnet50 and mobilenet, not of toy"),
    ],
)
def test_an_option_of_another_task_is_refused(
    task: types.ModuleType, words: list[str], said: str
) -> None:
    with pytest.raises(InputError) as error:
        read_options(parse([*words, "--no-tuned"]))
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("given", "model", "title"),
    [
        ("toy", "toy-99", "Sequences, toy-99"),
        ("TOY_99.9", "toy-99.9", "Sequences, toy-99.9"),
        ("resnet", "resnet50", "ResNet-50 v1.5"),
        ("ResNet50", "resnet50", "ResNet-50 v1.5"),
    ],
)
def test_a_run_is_of_a_benchmark(
    task: types.ModuleType, given: str, model: str, title: str
) -> None:
    options = read_options(parse([given, "--engine=sim", "--no-tuned"]))
    assert options.model == model
    assert models.title(options.model) == title
    assert read_options(parse(options.words())) == options
    assert tuned_path(model, "Offline", "sim", "int8") == tuned_path(
        models.get(given).name, "Offline", "sim", "int8"
    )


@pytest.mark.parametrize("command", ["run", "single-stream", "audit", "tune", "find-qps", "submit"])
def test_a_tasks_options_are_those_of_every_command_with_data(
    task: types.ModuleType, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "--annotations FILE JSON of the images [TOY_JSON]" in shown


def test_a_path_of_a_task_that_is_not_there_is_one_line(task: types.ModuleType) -> None:
    with pytest.raises(InputError, match=r"^--annotations /none: no such file$"):
        find_sources(models.get("toy"), {"annotations": "/none"}, {})


def test_two_tasks_share_an_option_only_where_it_is_the_same(
    task: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = types.ModuleType("models.other.options")
    other.OPTIONS = task.OPTIONS[:1]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "models.other.options", other)
    monkeypatch.setattr(models.options, "FOLDERS", ("imagenet", "toy", "other"))
    assert models.options.declared()[1:] == task.OPTIONS
    other.OPTIONS = (Option("--bin-loader", "something else"),)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="two tasks declare --bin-loader"):
        models.options.declared()


def test_every_flag_in_a_message_is_one_that_a_command_has() -> None:
    parser, commands = parsers()
    known = {
        flag
        for found in (parser, *commands.values())
        for action in found._actions
        for flag in action.option_strings
    }
    # Those of every task's folder, whether it is in the registry or not.
    for file in (PACKAGE_ROOT / "models").glob("*/options.py"):
        module = importlib.import_module(f"models.{file.parent.name}.options")
        known |= {option.flag for option in module.OPTIONS}
    sources = [file for name in PRODUCT for file in (PACKAGE_ROOT / name).rglob("*.py")]
    # The reference's flags, each of which tests/launch/test_launch_reference.py tries.
    sources.remove(PACKAGE_ROOT / "launch" / "reference" / "flags.py")
    known |= set(BY_NAME)
    # Those of other harnesses, as tests/launch/test_launch_coming_from.py.
    sources.remove(PACKAGE_ROOT / "launch" / "spellings.py")
    strange = {
        f"{file.relative_to(PACKAGE_ROOT)}: {flag}"
        for file in sources
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", node.value)
        if flag not in known | FOREIGN
    }
    assert len(sources) > 200
    assert strange == set()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\nb", r"'a\nb' holds control characters: leave them out"),
        ("\x1b[31mred", r"'\x1b[31mred' holds control characters: leave them out"),
        ("a\u2028b", r"'a\u2028b' holds control characters: leave them out"),
        ("\u202eturned", r"'\u202eturned' holds control characters: leave them out"),
        ("\udce9", r"'\udce9' holds control characters: leave them out"),
        ("x" * 201, "is 201 characters long; give at most 200"),
    ],
)
def test_a_label_that_is_not_one_line_is_refused(
    capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    with pytest.raises(SystemExit):
        main(["run", "resnet50", f"--label={text}"])
    line = f"loadrun: error: --label: {reason}. Try 'loadrun run --help'\n"
    assert capsys.readouterr().err == line


def test_a_label_of_spaces_is_none() -> None:
    assert parse(["resnet50", "--label", " "]).label is None
    assert parse(["resnet50", "--label", " größer: 2 µs "]).label == "größer: 2 µs"


def test_what_an_onnx_file_is_for_becomes_part_of_its_name(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.touch()
    options = read_options(parse([str(file), "--task", "imagenet", "--like", "mobilenet"]))
    assert options.model == f"{file}:mobilenet"
    assert read_options(parse(options.words())).model == options.model
