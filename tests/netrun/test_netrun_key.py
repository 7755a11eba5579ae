"""The key of an artifact: whatever shapes it gives another one, so a stale file is never found."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from artifacts import ensure_artifact
from numpy.typing import NDArray

import models
from base.processors import processor_identity
from models import artifact
from models.imagenet.classifier import classifier
from netrun.engines import order
from netrun.engines.onednn import library, pack

MODEL = classifier("mobilenet")


class Library:
    """What of oneDNN is in the key."""

    version = "3.2.0+0123456"
    isa = 0x67


class Setting:
    """Everything that shapes an artifact; a test changes one thing."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.weights = folder / "weights.pth"
        self.weights.write_bytes(b"some weights")
        self.cache = folder / "cache"
        self.arguments: dict[str, Any] = {
            "model": "mobilenet",
            "precision": "int8",
            "engine": "onednn",
            "batch_size": 8,
            "threads": 2,
        }
        self.samples: NDArray[np.uint8] = np.zeros((9, *MODEL.sample.shape), np.uint8)
        self.versions = {"torch": "2.13.0", "torchao": "0.18.0"}
        self.library = Library()
        self.processor = ["GenuineMaker", "6", "143", "2048 KB"]
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(importlib.metadata, "version", lambda name: self.versions[name])
        monkeypatch.setattr(library, "load", lambda: self.library)
        monkeypatch.setattr(pack, "processor_identity", lambda: self.processor)
        monkeypatch.setattr(artifact, "ensure", lambda path, *rest: False)
        monkeypatch.setattr(artifact, "read_facts", lambda path, kind: {"references": {}})

    def files(self) -> list[str]:
        """Names of the files that are looked for: the program, then what is compiled of it."""
        found: list[str] = []
        ensure_artifact(
            **self.arguments,
            weights=self.weights,
            calibration=self.samples,
            cache=self.cache,
            progress=lambda done, total: None,
            made=lambda path, built: found.append(path.name),
        )
        return found


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    return Setting(tmp_path, monkeypatch)


def change(setting: Setting, what: str) -> None:
    """Change one thing, as little as can be."""
    if what == "weights":
        setting.weights.write_bytes(b"some weighty")
    elif what == "a calibration pixel":
        setting.samples[4, 100, 100, 1] = 1
    elif what == "one calibration image less":
        setting.samples = setting.samples[:-1]
    elif what == "normalisation":
        other = replace(MODEL.sample, mean=(127.5, 127.5, 127.0))
        changed = replace(MODEL, sample=other)
        setting.monkeypatch.setattr(models, "get", lambda name: changed)
    elif what == "quantisation":
        setting.monkeypatch.setattr(order, "QUANTISATION", order.QUANTISATION + 1)
    elif what == "packing":
        setting.monkeypatch.setattr(pack, "PACKING", pack.PACKING + 1)
    elif what in setting.versions:
        setting.versions[what] += ".post1"
    elif what == "oneDNN":
        setting.library.version = "3.2.0+0123457"
    elif what == "instruction set":
        setting.library.isa = 0x7
    elif what == "processor":
        setting.processor = ["GenuineMaker", "6", "143", "1024 KB"]
    else:
        before = setting.arguments[what]
        setting.arguments[what] = before + 1 if isinstance(before, int) else "resnet50"


def test_nothing_changed_is_nothing_new(setting: Setting) -> None:
    program, compiled = setting.files()
    assert program.startswith("mobilenet-int8-")
    assert compiled.startswith("mobilenet-onednn-b8-t2-")
    assert setting.files() == [program, compiled]


@pytest.mark.parametrize(
    "what",
    [
        "weights",
        "model",
        "a calibration pixel",
        "one calibration image less",
        "normalisation",
        "quantisation",
        "torch",
        "torchao",
    ],
)
def test_what_shapes_the_program_shapes_both(setting: Setting, what: str) -> None:
    before = setting.files()
    change(setting, what)
    program, compiled = setting.files()
    assert program != before[0]
    assert compiled != before[1]


@pytest.mark.parametrize(
    "what",
    ["batch_size", "threads", "oneDNN", "instruction set", "processor", "packing"],
)
def test_what_shapes_the_compiled_artifact_alone(setting: Setting, what: str) -> None:
    before = setting.files()
    change(setting, what)
    program, compiled = setting.files()
    assert program == before[0]
    assert compiled != before[1]


def test_precisions_and_engines_have_files_of_their_own(setting: Setting) -> None:
    program, compiled = setting.files()
    setting.arguments["engine"] = "pytorch"
    assert setting.files() == [program], "pytorch executes the program itself"
    floats = {}
    for precision in ("fp32", "bf16"):
        setting.arguments["precision"] = precision
        (floats[precision],) = setting.files()
    # Parameters are stored as they are used.
    assert len({*floats.values(), program, compiled}) == 4
    setting.versions["torch"] = "2.14.0"
    assert setting.files() != [floats["bf16"]]
    setting.weights.write_bytes(b"others")
    assert setting.files() != [floats["bf16"]]


def test_the_processor_is_told_by_its_model_and_cache(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    first = "vendor_id\t: M\ncpu family\t: 6\nmodel\t\t: 1\nmodel name\t: X\ncache size\t: 9 KB\n"
    cpuinfo.write_text(f"processor\t: 0\n{first}cpu MHz\t: 2000\n\nprocessor\t: 1\nmodel\t: 2\n")
    assert processor_identity(cpuinfo) == ["M", "6", "1", "9 KB"]
    assert processor_identity(tmp_path / "absent") == []
