"""Detection from the command line: whole runs of a small detector, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_process import environment

from launch.supervise.environment import PACKAGE_ROOT
from models.detection.answers import ROW_BYTES

cv2 = pytest.importorskip("cv2", reason="the extra `detection` is not installed")
pytest.importorskip("pycocotools", reason="the extra `detection` is not installed")
SUPPORT = PACKAGE_ROOT / "tests" / "support"
MODEL = "small-detector"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory where all processes know the small detector."""
    directory = tmp_path_factory.mktemp("detection")
    known = f"import models\nmodels.TASKS['{MODEL}'] = 'detectors:SMALL_DETECTOR'\n"
    (directory / "sitecustomize.py").write_text(known)
    return directory


@pytest.fixture(scope="module")
def images(place: Path) -> Path:
    """Ten images, the last of which shows nothing at all."""
    folder = place / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    entries = []
    for number in range(10):
        picture = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (90, 70))
        cv2.imwrite(str(folder / f"{number}.png"), picture * (number < 9))
        entries.append({"id": number, "file_name": f"{number}.png", "height": 70, "width": 90})
    objects = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [5, 5, 40, 30], "area": 1200,
         "iscrowd": 0}
        for n in range(1, 10)
    ]  # fmt: skip
    categories = [{"id": n, "name": str(n)} for n in (1, 2, 3)]
    content = {"images": entries, "categories": categories, "annotations": objects}
    (place / "annotations.json").write_text(json.dumps(content))
    return folder


def loadrun(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "launch.cli", *words],
        cwd=place,
        env=environment(place / "cache", place, SUPPORT),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )


def answers(place: Path, results: str) -> dict[int, bytes]:
    log = place / results / "offline" / MODEL / "accuracy" / "mlperf_log_accuracy.json"
    entries: list[dict[str, Any]] = json.loads(log.read_text())
    return {entry["qsl_idx"]: bytes.fromhex(entry["data"]) for entry in entries}


def test_the_embedded_default_in_int8(place: Path) -> None:
    words = ["run", MODEL, "--mode=AccuracyOnly", "--results=embedded", "--batch-size=1"]
    done = loadrun(place, *words, "--instances=1")
    assert done.returncode == 0, done.stdout
    *_, line, last = done.stdout.splitlines()
    assert last == "Completed"
    assert line.startswith("mAP=")
    assert float(line[4:-1]) > 50, done.stdout
    assert "maxDets=100 ] = " in done.stdout
    found = answers(place, "embedded")
    assert sorted(found) == list(range(64))
    assert len({len(answer) for answer in found.values()}) > 1
    for index, answer in found.items():
        rows = np.frombuffer(answer, "<f4").reshape(-1, 7)
        assert (rows[:, 0] == index).all()


def test_images_with_annotations_in_fp32(place: Path, images: Path) -> None:
    """An image without detections is answered with no bytes; --count scores what was seen."""
    words = ["run", MODEL, "--mode=AccuracyOnly", "--precision=fp32", "--pixels=f32"]
    words += ["--images=images", "--annotations=annotations.json", "--results=given"]
    done = loadrun(place, *words, "--instances=1")
    assert done.returncode == 0, done.stdout
    assert "note: annotations: " in done.stdout
    lengths = {len(answer) for answer in answers(place, "given").values()}
    assert len(lengths) > 1
    assert all(length % ROW_BYTES == 0 for length in lengths)
    some = loadrun(place, *words, "--instances=1", "--count=3")
    assert some.returncode == 0, some.stdout
    record = json.loads((place / "given" / "offline" / MODEL / "accuracy/run.json").read_text())
    assert record["accuracy"]["total"] == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pixels=f32"], "--pixels f32: int8 takes pixels of 8 bits: leave it out, or choose"),
        (["--pixels=f16"], "'f16' is unknown (known: u8, f32)"),
        (["--labels=x"], "--labels x: an option of resnet50 and mobilenet, not of small-detector"),
        (["--annotations=other.json"], "--annotations other.json: no such file"),
        (["--annotations=foreign.json"], "has category 90, and the weights' network tells 3 apart"),
    ],
)
def test_what_is_refused(place: Path, images: Path, words: list[str], said: str) -> None:
    content = json.loads((place / "annotations.json").read_text())
    content["categories"].append({"id": 90, "name": "toothbrush"})
    (place / "foreign.json").write_text(json.dumps(content))
    given = (
        [] if any("annotations" in word for word in words) else ["--annotations=annotations.json"]
    )
    done = loadrun(place, "run", MODEL, "--images=images", *given, *words, "--instances=1")
    assert done.returncode == 2, done.stdout
    assert said in done.stdout
