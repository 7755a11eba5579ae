"""Tasks in files of the user: how they are named and imported, and what is said of wrong ones."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import models
from base.errors import InputError
from models.own import imports
from models.own.names import canonical, parse
from models.own.sources import source_hash
from models.samples import prepare

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / "examples" / "my_net.py").read_text()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_net.py"
    path.write_text(EXAMPLE)
    return path


def error_of(name: object) -> str:
    with pytest.raises(InputError) as caught:
        models.get(str(name))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def module_of(name: str) -> str:
    return type(models.get(name)).__module__


def test_names_of_files() -> None:
    assert parse("resnet50") is None
    assert parse("my_net.py:TASK") == parse("./my_net.py:TASK")
    own = parse("a:b/net.onnx:resnet50")
    assert own is not None
    assert (str(own.file), own.meant, own.onnx) == ("a:b/net.onnx", "resnet50", True)
    assert not any(map(models.is_own, ["mobilenet", "net.onnx.txt", ".py", "net.pyc"]))


def test_a_name_is_the_same_from_anywhere(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    name = models.canonical("my_net.py:TASK")
    assert name == f"{file}:TASK"
    assert models.canonical("ResNet50-v1.5") == "resnet50"
    monkeypatch.chdir("/")
    assert models.get(name).name == models.label(name) == "my-net"
    assert models.get(name) is models.get(name)


def test_labels_are_names_of_folders(file: Path) -> None:
    file.write_text(EXAMPLE.replace('"my-net", "My network"', '"../My Net/2 ", "My network"'))
    assert models.label(f"{file}:TASK") == "my-net-2"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("TASK = MyNet()", ""), "has no TASK (it has no task; docs/models.md has an example)"),
        (("TASK = MyNet()", "OTHER = MyNet()"), "has no TASK (it has: OTHER)"),
        (("TASK = MyNet()", "TASK = MyNet"), "give the name of an instance (NET = MyNet())"),
        (("TASK = MyNet()", "TASK = Tones()"), "TASK is of type Tones, not a Task"),
        (("name, title, answer_bytes = ", "name, _, _ = "), "TASK: lacks title, answer_bytes"),
        (('"My network", 4', '"My network", "4"'), "its answer_bytes is '4', not a whole number"),
        (
            ("def data(", "def date("),
            "TypeError: Can't instantiate abstract class MyNet",
        ),
        (("import numpy", "import nampy"), "No module named 'nampy' (my_net.py:3)"),
        (("CLASSES = Field", "CLASSES = 1 +* Field"), "does not import: SyntaxError"),
        (("TASK = ", "raise SystemExit(3)\nTASK = "), "does not import: SystemExit: 3"),
        (('= "my-net"', '= "ResNet50"'), "its name ResNet50 is that of one of our tasks"),
    ],
)
def test_what_is_wrong_is_one_line(file: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in EXAMPLE
    file.write_text(EXAMPLE.replace(*change))
    assert said in error_of(f"{file}:TASK")


def test_what_is_missing_is_named(file: Path) -> None:
    assert error_of("/no/net.py:TASK") == "/no/net.py: no such file"
    assert error_of(file) == f"{file}: which task? give my_net.py:NAME (it has: TASK)"
    dotted = file.rename(file.with_name("my.net.py"))
    assert "has no dots: rename" in error_of(f"{dotted}:TASK")


PACKAGES = ("models", "launch", "base", "netrun", "shm")


@pytest.mark.parametrize("marked", [True, False], ids=["package", "folder"])
def test_packages_of_our_names_are_in_nobody_s_way(file: Path, marked: bool) -> None:
    """In a program that is neither of the two: the data set goes to another process, too."""
    lines = []
    for name in PACKAGES:
        (file.parent / name).mkdir()
        (file.parent / name / "sub.py").write_text(f"WHO = '{name} of the user'\n")
        if marked:
            (file.parent / name / "__init__.py").write_text("from .sub import WHO\n")
        lines += [f"import {name}.sub", f"assert {name}.sub.WHO == '{name} of the user'"]
    (file.parent / "models" / "tones.py").write_text(
        "import models.sub as sub, base.sub\nfrom models import sub as same\n"
        "assert sub is same and base.sub.WHO == 'base of the user'\n" + EXAMPLE
    )
    lines += ["from models.tones import MyNet", "TASK = MyNet()"]
    file.write_text("\n".join(lines))
    program = f"""
import pickle, subprocess, sys
import models, models.task, launch, base.errors
path = [*sys.path]
task = models.get({f"{file}:TASK"!r})
assert isinstance(task, models.task.Task)
data = pickle.dumps(task.data(None))
child = "import pickle, sys; print(pickle.load(sys.stdin.buffer).read(3)['signal'].sum())"
sums = subprocess.run([sys.executable, "-c", child], input=data, stdout=-1, check=True).stdout
assert float(sums) == float(str(task.data(None).read(3)["signal"].sum()))
assert sys.path == path and sys.modules["models"] is models and not hasattr(models, "sub")
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    assert not list(file.parent.rglob("__pycache__"))


def test_our_own_packages_serve_a_file_that_has_none(file: Path) -> None:
    text = EXAMPLE.replace("from loadrun.task import", "from models.task import")
    (file.parent / "models").mkdir()
    (file.parent / "models" / "net.onnx").touch()
    file.write_text(text)
    assert models.get(f"{file}:TASK").name == "my-net"


def test_samples_are_prepared_by_worker_processes(file: Path, tmp_path: Path) -> None:
    task = models.get(f"{file}:TASK")
    data = task.data(None)  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(data)).__class__ is data.__class__
    samples = prepare(data, tmp_path / "cache")
    assert len(samples) == len(data)
    assert (samples[511]["signal"] == data.read(511)["signal"]).all()


def test_a_change_of_any_file_is_another_network(file: Path) -> None:
    (file.parent / "parts").mkdir()
    inner = file.parent / "parts" / "inner.py"
    inner.write_text("ONE = 1\n")
    (file.parent / "beside.py").write_text("def f():\n    from parts import inner\n")
    (file.parent / "stranger.py").write_text("")
    file.write_text("import beside\n" + EXAMPLE)
    kind = type(models.get(f"{file}:TASK"))
    first = source_hash(kind)
    (file.parent / "stranger.py").write_text("X = 1\n")
    assert first == source_hash(kind)
    inner.write_text("ONE = 2\n")
    second = source_hash(kind)
    file.write_text(file.read_text() + "\n")
    assert len({first, second, source_hash(kind), None}) == 4
    assert source_hash(type(models.get("resnet50"))) is None


def test_modules_are_called_as_the_user_calls_them(file: Path) -> None:
    name = imports.module_name(file)
    file.write_text("import models.nothing\n")
    (file.parent / "models").mkdir()
    (file.parent / "models" / "__init__.py").touch()
    assert "No module named 'models.nothing' (my_net.py:1)" in error_of(f"{file}:TASK")
    assert name not in sys.modules


def test_the_command_loads_no_torch_for_a_task() -> None:
    name = str(ROOT / "examples" / "my_net.py") + ":TASK"
    program = f"import sys, models; models.get({name!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("name", "task", "like", "said"),
    [
        ("net.onnx", None, None, "what is it a network for? add --task imagenet"),
        ("net.onnx", "squad", None, "--task squad: unknown (known: imagenet)"),
        ("net.onnx", "imagenet", "resnet5", "unknown model 'resnet5' (nearest: resnet50"),
        ("net.onnx:resnet50", None, "mobilenet", "exclude each other"),
        ("gone.onnx", "imagenet", None, "gone.onnx: no such file"),
        ("my_net.py:TASK", "imagenet", None, "is for FILE.onnx"),
        ("mobilenet", None, "resnet50", "--like resnet50: is for a network of your own"),
    ],
)
def test_what_an_onnx_file_is_for(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    task: str | None,
    like: str | None,
    said: str,
) -> None:
    monkeypatch.chdir(file.parent)
    (file.parent / "net.onnx").touch()
    with pytest.raises(InputError) as caught:
        models.canonical(name, task, like)
    assert said in str(caught.value)


def test_an_onnx_file_has_a_name_of_its_own(tmp_path: Path) -> None:
    for name in ("OFA net.onnx", "resnet50.onnx"):
        (tmp_path / name).touch()
    ofa = models.canonical(str(tmp_path / "OFA net.onnx"), "imagenet")
    assert ofa == f"{tmp_path}/OFA net.onnx:resnet50"
    assert models.label(ofa) == "ofa-net"
    assert models.label(f"{tmp_path}/resnet50.onnx:mobilenet") == "resnet50-onnx"
    known = parse(ofa)
    assert known is not None
    assert canonical(known) == known
