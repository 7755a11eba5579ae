"""Artifacts are built once, found again, never stale, and replaced when broken."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from artifacts import answering, ensure_artifact
from torch import nn

import models
from base.errors import InputError
from launch.supervise.environment import base_environment
from models.artifact import Artifact, read, write
from models.imagenet.classifier import classifier
from netrun.config import NetrunConfig
from netrun.engines import EngineError
from netrun.engines.onednn import compiler
from netrun.engines.onednn.pack import KIND
from netrun.loading import load

MODEL = classifier("mobilenet")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(MODEL.network().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    random = np.random.default_rng(2)
    return random.integers(0, 256, (8, *MODEL.sample.shape), dtype=np.uint8)


def nothing(done: int, total: int) -> None:
    """Progress that nobody watches."""


def build(
    weights: Path,
    samples: np.ndarray | None,
    cache: Path,
    precision: str = "int8",
    engine: str = "onednn",
    batch_size: int = 2,
    notices: list[str] | None = None,
) -> Path:
    notice = (notices if notices is not None else []).append
    return ensure_artifact(
        *("mobilenet", weights, samples, precision, engine, batch_size, 1, cache),
        progress=nothing,
        notice=notice,
    )


def config(artifact: Path, precision: str, engine: str, batch_size: int = 2) -> NetrunConfig:
    return NetrunConfig(
        *("abcd", 0, "mobilenet", engine, precision, str(artifact), batch_size, 1, "")
    )


def opened(path: Path) -> Artifact:
    return read(path, KIND)


def test_the_second_time_it_is_found(weights: Path, samples: np.ndarray, cache: Path) -> None:
    first = build(weights, samples, cache)
    written = first.stat().st_mtime_ns
    assert build(weights, samples, cache) == first
    assert first.stat().st_mtime_ns == written
    assert opened(first).facts["model"] == "mobilenet"


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_corrupt_one_is_built_anew_with_a_notice(
    weights: Path, samples: np.ndarray, cache: Path, damage: str
) -> None:
    path = build(weights, samples, cache)
    whole = path.read_bytes()
    # Which kernels compute what is measured each time; what they compute with is the same.
    constants = {
        name: array.copy()
        for name, array in opened(path).arrays.items()
        if name.endswith((".scales", ".bias"))
    }
    broken = bytearray(whole)
    broken[-100] ^= 0xFF
    contents: dict[str, bytes] = {
        "truncated": whole[: len(whole) // 2],
        "flipped": bytes(broken),
        "empty": b"",
    }
    path.write_bytes(contents[damage])
    notices: list[str] = []
    assert build(weights, samples, cache, notices=notices) == path
    again = opened(path).arrays
    assert all((again[name] == array).all() for name, array in constants.items())
    assert len(notices) == 1
    assert str(path) in notices[0]


@pytest.mark.parametrize(
    ("precision", "engine"),
    [("int8", "onednn"), ("int8", "pytorch"), ("fp32", "pytorch"), ("bf16", "pytorch")],
)
def test_every_engine_answers_every_sample(
    weights: Path, samples: np.ndarray, cache: Path, precision: str, engine: str
) -> None:
    artifact = build(weights, samples, cache, precision=precision, engine=engine)
    answers = answering(config(artifact, precision, engine))(samples, [3, 5])
    assert answers.shape == (2,)
    assert ((answers >= -1) & (answers < 1000)).all()


def test_the_engine_tells_how_batches_are_run(
    weights: Path, samples: np.ndarray, cache: Path
) -> None:
    path = build(weights, samples, cache)
    engine, _ = load(config(path, "int8", "onednn"))
    found, facts = engine.describe(), opened(path).facts
    assert json.loads(json.dumps(found)) == found
    assert found["cut"] in facts["cuts_ms"]
    assert found["batch_ms"] == facts["batch_ms"]
    assert len(found["batch_ms"]) == 2
    assert found["batches"] == ({} if facts["batches"] == [[1], [2]] else {"1": [2]})
    assert found["references"] == {}


class Compiler:
    """Compiles nothing; notes how it was asked to."""

    def __init__(self, references: dict[str, list[int]]) -> None:
        self.references = references
        self.affinities: list[set[int]] = []

    def compile_program(
        self,
        program: object,
        path: Path,
        batch_size: int,
        threads: int,
        facts: object,
        progress: Callable[[int, int], None],
    ) -> None:
        self.affinities.append(os.sched_getaffinity(0))
        progress(1, 2)
        write(path, KIND, {"references": self.references}, {})


def compiled_by(
    double: Compiler, weights: Path, samples: np.ndarray, cache: Path, batch_size: int
) -> tuple[list[tuple[int, int]], list[str]]:
    """The progress of what was measured, and the notices."""
    seen: list[tuple[int, int]] = []
    notices: list[str] = []
    ensure_artifact(
        *("mobilenet", weights, samples, "int8", "onednn", batch_size, 1, cache),
        progress=nothing,
        notice=notices.append,
        measuring=lambda done, total: seen.append((done, total)),
        processors=sorted(os.sched_getaffinity(0))[-1:],
    )
    return seen, notices


@pytest.fixture
def double(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    made = Compiler(getattr(request, "param", {}))

    monkeypatch.setattr(compiler, "compile_program", made.compile_program)
    return made


def test_what_decides_is_measured_on_the_processors_of_an_instance(
    double: Compiler, weights: Path, samples: np.ndarray, cache: Path
) -> None:
    before = os.sched_getaffinity(0)
    assert compiled_by(double, weights, samples, cache, 7) == ([(1, 2)], [])
    assert double.affinities == [{max(before)}]
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("double", [{"pool": [1, 2, 5], "fc": [1]}], indirect=True)
def test_a_reference_kernel_is_named_when_it_is_built_and_when_it_is_found(
    double: Compiler, weights: Path, samples: np.ndarray, cache: Path
) -> None:
    named = (
        "oneDNN has only its reference kernel, which is very slow, for"
        " pool (1-2, 5 samples at once), fc (1 sample at once)"
    )
    assert compiled_by(double, weights, samples, cache, 5) == ([(1, 2)], [named])
    assert compiled_by(double, weights, samples, cache, 5) == ([], [named])
    assert len(double.affinities) == 1


def test_int8_without_calibration_is_refused(weights: Path, cache: Path) -> None:
    with pytest.raises(EngineError, match="--calibration"):
        build(weights, None, cache)


def test_too_few_calibration_samples_are_refused(
    weights: Path, samples: np.ndarray, cache: Path
) -> None:
    with pytest.raises(InputError, match=r"at least 8 .*--calibration DIR") as caught:
        build(weights, samples[:7], cache)
    assert "\n" not in str(caught.value)


class Unusual(nn.Module):
    """A network that int8 does not execute."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3, 2), nn.Linear(4, 1001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.sigmoid(self.stem(nn.functional.pad(x, (0, 1, 0, 1))))
        return self.head(x.mean((2, 3)))


def test_a_network_that_int8_cannot_execute_is_refused(
    samples: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(MODEL), "network", lambda self: Unusual().eval())
    path = tmp_path / "unusual.pth"
    torch.save(Unusual().state_dict(), path)
    with pytest.raises(EngineError, match=r"mobilenet cannot run in int8: .*--precision") as caught:
        build(path, samples, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="SSE4.1 is an instruction set of x86")
def test_the_users_bound_on_the_instruction_set_is_in_the_key() -> None:
    code = (
        "from netrun.engines.onednn import library, pack\n"
        "print(pack.machine_facts(library.load(), 1, 1)['isa'])"
    )
    facts = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[2],
            env=base_environment({**os.environ, **bound}),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for bound in ({}, {"ONEDNN_MAX_CPU_ISA": "SSE41"})
    ]
    assert facts[0] != facts[1]


def test_weights_of_another_network_are_refused(
    samples: np.ndarray, cache: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.pth"
    torch.save({"layer.weight": torch.zeros(3)}, wrong)
    with pytest.raises(models.WeightsError, match=str(wrong)):
        build(wrong, samples, cache)


def test_missing_weights_are_named(samples: np.ndarray, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(models.WeightsError, match=r"absent\.pth"):
        build(tmp_path / "absent.pth", samples, cache)


def test_weights_that_change_while_they_are_read_are_refused(
    weights: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what they are now would be kept under the hash of what they were."""
    path = tmp_path / "weights.pth"
    path.write_bytes(weights.read_bytes())
    real = type(MODEL).load_weights

    def replacing(self: object, file: Path) -> nn.Module:
        torch.save({k: v + 1 for k, v in MODEL.network().state_dict().items()}, file)
        network: nn.Module = real(MODEL, file)
        return network

    with monkeypatch.context() as patch:
        patch.setattr(type(MODEL), "load_weights", replacing)
        with pytest.raises(models.WeightsError, match="changed while it was read"):
            build(path, None, tmp_path / "cache", "fp32", "pytorch")
    assert not list((tmp_path / "cache/artifacts").glob("mobilenet-float-*"))


def test_an_engine_says_what_it_cannot_execute(cache: Path) -> None:
    with pytest.raises(EngineError, match="onednn does not execute fp32; use pytorch"):
        load(config(cache, "fp32", "onednn"))


def test_an_artifact_for_another_batch_size_is_refused(
    weights: Path, samples: np.ndarray, cache: Path
) -> None:
    artifact = build(weights, samples, cache)
    with pytest.raises(EngineError, match="made for"):
        load(config(artifact, "int8", "onednn", batch_size=3))
