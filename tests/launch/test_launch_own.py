"""Networks of the user's own, as users run them: the example, and an ONNX file."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_process import Cli, environment

from base.errors import InputError
from launch.build.assets import ArtifactConfig, BuildConfig
from launch.build.make import make

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "my_net.py"
START = (
    f"import sys; sys.path.append({str(ROOT)!r}); from loadrun_start import main; sys.exit(main())"
)
FP32 = ("--engine", "pytorch", "--precision", "fp32")
BRIEF = ("--fast", "--time", "0.3", "--yes")


@dataclass(frozen=True)
class Folder:
    """A folder with the example and packages that are called as ours, in which runs are started."""

    path: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", START, "run", *words],
            cwd=self.path,
            env=environment(self.path / "cache"),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def record(self, scenario: str) -> dict[str, Any]:
        text = (self.path / "results" / scenario / "my-net" / "run.json").read_text()
        found: dict[str, Any] = json.loads(text)
        return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    path = tmp_path_factory.mktemp("own")
    for name in ("launch", "models", "base"):
        (path / name).mkdir()
        (path / name / "__init__.py").write_text("raise SystemExit('not this one')\n")
    (path / "models" / "__init__.py").write_text("WHO = 'the user'\n")
    check = "from models import WHO\nassert WHO == 'the user'\n"
    (path / "my_net.py").write_text(f"{check}{EXAMPLE.read_text()}")
    return Folder(path)


def test_the_example_is_short_and_documented() -> None:
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) <= 60
    assert f"```python\n{text}```\n" in (ROOT / "docs" / "models.md").read_text()


@pytest.mark.parametrize("scenario", ["Offline", "Server", "MultiStream", "SingleStream"])
def test_the_example_runs(folder: Folder, scenario: str) -> None:
    mode = "SubmissionRun" if scenario == "Offline" else "PerformanceOnly"
    words = ("--scenario", scenario.lower(), "--mode", mode, *FP32, *BRIEF)
    instances = () if scenario == "Offline" else ("--instances", "1")
    done = folder.run("my_net.py:TASK", *words, *instances)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    record = folder.record(scenario.lower())
    assert record["status"] == "COMPLETE"
    assert record["model"] == f"{folder.path}/my_net.py:TASK"
    assert record["result"]["errors"] == []
    if mode == "SubmissionRun":
        # What the example says is its reference.
        assert record["accuracy"]["value"] == pytest.approx(0.8418, abs=0.004)
        assert "accuracy=" in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('.astype("<i4")', '.astype("<i4").tolist()', "infer: TypeError: an answer is int, not"),
        ('.astype("<i4")', '.astype("<i4")[:1]', "infer: the task gave 1 answers to a batch of 2"),
        ('.astype("<i4")', '.astype("<i8")', "a sample with 8 bytes; its answer_bytes is 4"),
        ('["scores"]', '["scors"]', "infer: KeyError: 'scors' (my_net.py:"),
        ("return Score(", "return list((", "score: TypeError: it gave list, not a Score"),
        ("(tone + noise).astype(np.float32)", "tone + noise", "expected <f4 (1, 128)"),
    ],
)
def test_a_wrong_task_is_refused_before_the_run(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    text = EXAMPLE.read_text().replace(old, new)
    if "list((" in new:
        text = text.replace("good)\n", "good))\n")
    assert text != EXAMPLE.read_text()
    (tmp_path / "my_net.py").write_text(text)
    artifact = ArtifactConfig("pytorch", "fp32", 4, 1, [])
    config = BuildConfig(
        model=f"{tmp_path}/my_net.py:TASK",
        data=None,
        weights=None,
        calibration=None,
        options={},
        samples=True,
        artifact=artifact,
        cache=str(tmp_path / "cache"),
    )
    with pytest.raises(InputError) as caught:
        make(config, lambda *_: None, print)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_wrong_is_said_by_the_command(tmp_path: Path) -> None:
    text = EXAMPLE.read_text().replace('.astype("<i4")', '.astype("<i8")')
    (tmp_path / "my_net.py").write_text(text)
    done = Folder(tmp_path).run("my_net.py:TASK", *FP32, *BRIEF)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr == (
        "loadrun: error: my_net.py:TASK: infer: the task answered a sample with 8 bytes; its"
        " answer_bytes is 4\n"
    )
    assert not (tmp_path / "results").exists()


def test_an_onnx_file_is_another_network_for_imagenet(tmp_path: Path) -> None:
    """In int8, by ONNX Runtime's quantiser."""
    cli = Cli(tmp_path)
    torch.manual_seed(1)
    layers = (torch.nn.Conv2d(3, 8, 7, 8), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1))
    network = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(8, 1001))
    images = torch.zeros(1, 3, 224, 224)
    torch.onnx.export(network.eval(), (images,), str(tmp_path / "ofa.onnx"), dynamo=False)
    cli.words = ("--images", str(cli.images), "--engine", "onnxruntime")
    words = ("--like", "mobilenet", "--mode", "AccuracyOnly", "--calibration", str(cli.images))
    code, said = cli.run("run", "ofa.onnx", "--task", "imagenet", *words)
    assert code in (0, 3), said
    assert f"weights: {tmp_path}/ofa.onnx" in said
    record = cli.record("results/offline/ofa")
    assert record["model"] == f"{tmp_path}/ofa.onnx:mobilenet"
    assert record["weights"]["synthetic"] is False
    assert record["accuracy"]["total"] == len(list(cli.images.glob("*.png")))
