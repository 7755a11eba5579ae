"""The embedded default: every scenario on both models, with nothing downloaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from drawings import Drawing
from integration_run import Finished, command, loadrun
from leftovers import left_in_shm

from launch.cli import main
from models.synthetic import SyntheticAssets

MODELS = ("resnet50", "mobilenet")
ROOFLINE = ("--batch-size", "2")
"""The same for all, so that it is compiled once."""


@pytest.fixture(scope="module")
def cache(synthetic_cache: Path) -> Path:
    return synthetic_cache


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    assert left_in_shm(tmp_path) == []


def completed(finished: Finished, scenario: str) -> None:
    """The run completed, whatever the verdict: how busy a test machine is decides on that."""
    record = finished.record
    assert record["status"] == "COMPLETE", finished.output
    assert record["scenario"] == scenario
    assert record["synthetic"] is True
    assert "synthetic" in finished.output
    assert finished.output.rstrip().endswith("Completed")
    valid = record["result"]["valid"]
    assert finished.code == (0 if valid else 3)
    assert valid or record["result"]["invalid"]


def test_accuracy_follows_what_is_in_the_images(
    cache: Path, synthetic: dict[str, SyntheticAssets], tmp_path: Path
) -> None:
    """In folders that are numbers; then each image in the place of another, at the same size."""
    weights, data = synthetic["mobilenet"].weights, synthetic["mobilenet"].dataset
    assert data.labels is not None
    contents = [file.read_bytes() for file in data.files[:64]]
    longest = max(map(len, contents))
    contents = [content.ljust(longest, b"\0") for content in contents]
    files = [tmp_path / f"val/{n}/{i}.jpg" for i, n in enumerate(data.labels[:64])]
    for file, content in zip(files, contents, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    words = ["mobilenet", "--mode", "AccuracyOnly", "--precision", "fp32", "--instances", "1"]
    words += ["--weights", str(weights), "--images", str(tmp_path / "val")]
    right = loadrun(cache, tmp_path, *words)
    assert right.code == 0, right.output
    assert right.accuracy > 0.9
    assert "labels: 32 sub-folders by number" in right.output
    for file, content in zip(files, contents[1:] + contents[:1], strict=True):
        file.write_bytes(content)
    wrong = loadrun(cache, tmp_path, *words)
    assert wrong.code == 3, wrong.output
    assert wrong.accuracy < 0.1
    assert "INVALID because the accuracy means nothing" in wrong.output
    assert wrong.output.splitlines()[-2].startswith("accuracy=")
    assert wrong.record["data"]["sha256"] != right.record["data"]["sha256"]


@pytest.mark.parametrize("model", MODELS)
def test_offline(cache: Path, tmp_path: Path, model: str) -> None:
    options = ["--instances", "2", "--cores", "2", "--batch-size", "8"]
    finished = loadrun(cache, tmp_path, model, "--fast", "--time", "3", *options)
    completed(finished, "Offline")
    record = finished.record
    planned = len(record["plan"]["instances"])
    samples = [instance["samples"] for instance in record["instances"]]
    assert len(samples) == planned
    assert min(samples) > 0
    assert sum(samples) >= record["result"]["metric"]["value"] * 2
    for instance, binding in zip(
        record["plan"]["instances"], record["bindings"]["instances"].values(), strict=True
    ):
        assert binding["processors"] == instance["processors"]
    expected = record["result"]["metric"]["value"] / record["standalone_rate"]
    assert record["harness_efficiency"] == pytest.approx(expected)
    assert record["redispatched_samples"] == 0


@pytest.mark.parametrize("model", MODELS)
def test_server(cache: Path, tmp_path: Path, model: str) -> None:
    options = ["--scenario", "server", "--batch-size", "8", "--qps", "15", "--max-latency", "500"]
    finished = loadrun(cache, tmp_path, model, "--fast", "--time", "1", *options)
    completed(finished, "Server")
    latencies = finished.record["result"]["latencies_ns"]
    assert 0 < latencies["p50"] <= latencies["p99"]


@pytest.mark.parametrize("model", MODELS)
def test_multi_stream(cache: Path, tmp_path: Path, model: str) -> None:
    finished = loadrun(cache, tmp_path, model, "--scenario", "multistream", "--fast", "--time", "1")
    completed(finished, "MultiStream")


@pytest.mark.parametrize(
    ("model", "through_ring"), [("resnet50", False), ("mobilenet", False), ("mobilenet", True)]
)
def test_single_stream(cache: Path, tmp_path: Path, model: str, through_ring: bool) -> None:
    options = ["--scenario", "singlestream", *(["--through-ring"] if through_ring else [])]
    finished = loadrun(cache, tmp_path, model, *options, "--fast", "--time", "1")
    completed(finished, "SingleStream")
    assert finished.record["in_process"] is not through_ring
    assert len(finished.record["engines"]["0"]["details"]["batch_ms"]) == 1


def test_int8_is_as_accurate_as_fp32(cache: Path, tmp_path: Path) -> None:
    # tests/models rounds resnet50 on the same images; here it would take half a minute.
    model, count = "mobilenet", 32
    options = ["--mode", "AccuracyOnly", "--count", str(count), "--instances", "1"]
    good = {}
    for precision in ("fp32", "int8"):
        folder = tmp_path / precision
        folder.mkdir()
        finished = loadrun(cache, folder, model, *options, "--precision", precision)
        assert finished.code == 0, finished.output
        assert "synthetic" in finished.output
        assert finished.record["accuracy"]["total"] == count
        good[precision] = finished.record["accuracy"]["good"]
    assert good["fp32"] >= 0.9 * count
    assert good["int8"] >= good["fp32"] - 1


def test_roofline(cache: Path, tmp_path: Path) -> None:
    done = command(cache, tmp_path, "roofline", "mobilenet", "--time", "0.1", *ROOFLINE)
    assert done.returncode == 0, done.stdout
    assert "weights: synthetic" in done.stdout
    results = tmp_path / "results/roofline"
    values = json.loads((results / "mobilenet.json").read_text())
    assert values["synthetic"] is True
    assert len(values["layers"]) == 29
    drawing = Drawing((results / "mobilenet.svg").read_text())
    assert {layer["name"] for layer in values["layers"]} <= {*drawing.texts()}
    for layer in values["layers"]:
        assert any(line.startswith(f"{layer['name']} ") for line in done.stdout.splitlines())
    # 0.569 GMAC with padding, as the network is known.
    assert values["machine"]["macs_with_padding"] == pytest.approx(0.569e9, rel=0.005)
    assert 0 < values["total"]["share_of_peak"] < 1


def test_roofline_whose_figures_go_to_a_pipe(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOADRUN_CACHE", str(cache))
    words = ["--time", "0.1", *ROOFLINE, "--json", "-", "--results", str(tmp_path)]
    assert main(["roofline", "mobilenet", *words]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["batch_size"] == 2
    assert "features.26 " in captured.err
    picture = tmp_path / "roofline/mobilenet.svg"
    assert f"picture: {picture}\n" in captured.err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [picture]
