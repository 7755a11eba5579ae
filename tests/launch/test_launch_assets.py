"""The files built for a run, and from which images."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import models
import models.imagenet.classifier
from base import unchanged
from base.errors import InputError
from launch.build.assets import ArtifactConfig, Assets, BuildConfig
from launch.build.child import cache_trouble, main
from launch.build.make import make
from models.imagenet.classifier import classifier
from netrun.engines import EngineError, registry
from netrun.engines.order import Order


def folder_of(directory: Path, name: str, count: int) -> Path:
    """Images of one colour each, which distinguishes them."""
    folder = directory / name
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (240, 230), (number, 0, 0)).save(folder / f"{number:02}.png")
    return folder


def config_of(directory: Path, images: Path, calibration: Path | None) -> BuildConfig:
    weights = directory / "weights.pth"
    weights.write_bytes(b"weights")
    return BuildConfig(
        model="mobilenet",
        data=str(images),
        weights=str(weights),
        calibration=str(calibration) if calibration else None,
        options={},
        samples=True,
        artifact=ArtifactConfig("onednn", "int8", 1, 1, [0]),
        cache=str(directory / "cache"),
    )


@pytest.mark.parametrize("own", [True, False], ids=["--calibration", "served images"])
def test_calibration_images_are_chosen_before_they_are_preprocessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    images, calibration = folder_of(tmp_path, "val", 12), folder_of(tmp_path, "calibration", 24)
    given: list[Any] = []

    def build(engine: str, order: Order) -> Path:
        given.append(order.calibration)
        assert order.processors == [0]
        order.measuring(1, 3)
        return tmp_path / "artifact"

    monkeypatch.setattr(registry, "build", build)
    monkeypatch.setattr(models.imagenet.classifier, "CALIBRATION_SAMPLES", 4)
    config = config_of(tmp_path, images, calibration if own else None)
    built: set[tuple[str, int]] = set()
    assets = make(config, lambda stage, done, total: built.add((stage, total)), print)
    assert built == {
        ("preprocessing images", 12),
        ("preprocessing calibration images", 4),
        ("measuring batch sizes", 3),
    }
    assert assets.calibration is not None
    assert assets.calibration.data.name == ("calibration" if own else "val")
    (samples,) = given
    interior = classifier("mobilenet").sample.interior(samples.column("pixels"))
    assert interior[:, 0, 0, 0].tolist() == ([0, 6, 12, 18] if own else [0, 3, 6, 9])


def test_samples_alone_need_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "build", None)
    config = replace(
        config_of(tmp_path, folder_of(tmp_path, "val", 5), None), weights=None, artifact=None
    )
    assets = make(config, lambda stage, done, total: None, print)
    assert (assets.samples.count, assets.samples.prepared, assets.samples.data.name) == (
        5,
        5,
        "val",
    )
    assert (assets.weights, assets.calibration, assets.artifact) == (None, None, None)
    assert Assets.from_json(assets.to_json()) == assets
    assert make(config, lambda stage, done, total: None, print).samples.prepared == 0


def test_weights_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    real = unchanged.file_digest

    def counting(file: Path) -> bytes:
        hashed.append(file)
        return real(file)

    monkeypatch.setattr(unchanged, "file_digest", counting)
    monkeypatch.setattr(unchanged, "SETTLED_NS", 0)
    config = replace(
        config_of(tmp_path, tmp_path, None),
        samples=False,
        artifact=ArtifactConfig("pytorch", "fp32", 1, 1, []),
    )
    weights = tmp_path / "weights.pth"
    torch.save(classifier("mobilenet").network().state_dict(), weights)
    assets = make(config, lambda stage, done, total: None, print)
    assert hashed == [weights]
    assert assets.weights is not None
    assert assets.weights.sha256 == real(weights).hex()
    (file,) = assets.files
    assert file.built
    assert assets.artifact == file.path
    assert assets.served is None
    again = make(config, lambda stage, done, total: None, print)
    assert [f.built for f in again.files] == [False]
    assert Assets.from_json(again.to_json()) == again


@pytest.mark.parametrize("error", [InputError, EngineError, models.WeightsError])
def test_what_the_user_chose_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: type[Exception],
) -> None:
    def build(engine: str, order: Order) -> Path:
        raise error("that will not do")

    monkeypatch.setattr(registry, "build", build)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(asdict(config_of(tmp_path, folder_of(tmp_path, "val", 1), None))))
    assert main([str(path), str(tmp_path / "result.json")]) == 2
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("{")]
    assert lines == ["error: that will not do"]
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(13, "Permission denied", "/cache/artifacts/.a.lock"), "/cache/artifacts/"),
        (OSError(30, "Read-only file system", "/x", None, "/cache/a"), "/cache/a: Read-only"),
        (OSError(28, "No space left on device"), "/cache: No space left on device"),
        (FileNotFoundError(2, "No such file or directory", "/elsewhere"), None),
        (OSError(5, "Input/output error"), None),
    ],
)
def test_an_error_of_the_cache_has_its_cure(error: OSError, expected: str | None) -> None:
    trouble = cache_trouble(error, Path("/cache"))
    if expected is None:
        assert trouble is None
    else:
        assert trouble is not None
        assert trouble.startswith(expected)
        assert "LOADRUN_CACHE" in trouble


def test_a_cache_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("a file where the cache's directory belongs")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(asdict(config_of(tmp_path, folder_of(tmp_path, "val", 1), None))))
    assert main([str(path), str(tmp_path / "result.json")]) == 2
    (message,) = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("{")]
    assert message.startswith(f"error: {tmp_path / 'cache'}")
    assert "LOADRUN_CACHE" in message
