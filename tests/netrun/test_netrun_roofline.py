"""What a roofline is made of: the work of each operation by hand, and a real measurement."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from netrun_programs import residual_program
from volume_cases import kits19_network, noise

import models
from base.processors import last_level_cache
from launch.supervise.environment import PACKAGE_ROOT, instance_environment
from models.program import Convolution, Operation, Program, Tensor
from models.quantize.volumes import quantise_volumes
from models.samples import save
from models.task import Field
from netrun.engines.onednn import compiler
from netrun.engines.recorder import first_call
from netrun.engines.volumes.network import VolumeNetwork
from netrun.roofline.batch import middle
from netrun.roofline.config import RooflineConfig
from netrun.roofline.layers import touched_bytes, useful_macs
from netrun.roofline.windows import WindowPasses


@pytest.fixture(scope="module")
def program() -> Program:
    return residual_program()


@pytest.fixture(scope="module")
def compiled(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "artifact"
    compiler.compile_program(program, path, batch_size=2, threads=1, facts={})
    return path


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (9, 21, 21, 3), dtype=np.uint8)


def operation(program: Program, name: str) -> Operation:
    return next(each for each in program.operations if each.name == name)


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("stem", 10 * 10 * 32 * 3 * 9),
        ("pool", 0),
        ("project", 5 * 5 * 64 * 32),
        # A 3x3 window meets 3 rows inside the plane of 5, and 2 at its first and last: 13 pairs.
        ("a", 13 * 13 * 64 * 32),
        ("c", 13 * 13 * 64),
        ("mean", 5 * 5 * 64),
        ("head", 64 * 10),
    ],
)
def test_work_leaves_padding_out(program: Program, name: str, macs: int) -> None:
    assert useful_macs(program, operation(program, name)) == macs


@pytest.mark.parametrize(
    ("name", "batch", "expected"),
    [
        ("stem", 1, 21 * 21 * 3 + 10 * 10 * 32 + 32 * 3 * 9 + 32 * 8),
        ("pool", 1, 10 * 10 * 32 + 5 * 5 * 32),
        # A residual is read besides the source; weights are read once for all samples.
        ("b", 2, 2 * 3 * 5 * 5 * 64 + 64 * 64 + 64 * 8),
        ("head", 1, 64 + 10 * 4 + 64 * 10 + 10 * 8),
    ],
)
def test_bytes_are_those_that_must_move(
    program: Program, name: str, batch: int, expected: int
) -> None:
    assert touched_bytes(program, operation(program, name), batch) == expected


def test_a_stride_skips_bytes() -> None:
    convolution = Convolution("x", "in", "out", (2, 2), (0, 0, 0, 0))
    tensors = {"in": Tensor((5, 5, 8), "u8"), "out": Tensor((3, 3, 16), "u8")}
    constants = {"x.weight": np.zeros((16, 8, 1, 1), np.int8)}
    program = Program("in", "out", tensors, (convolution,), constants)
    # Rows and columns 0, 2 and 4 of five.
    assert touched_bytes(program, convolution, 1) == 3 * 3 * 8 + 3 * 3 * 16 + 16 * 8 + 16 * 8
    assert useful_macs(program, convolution) == 3 * 3 * 16 * 8


def keep(folder: Path, samples: np.ndarray) -> None:
    save(folder, [Field("pixels", "|u1", samples.shape[1:])], [{"pixels": s} for s in samples])


def test_a_measurement_from_configuration_to_result(
    program: Program, compiled: Path, samples: np.ndarray, tmp_path: Path
) -> None:
    keep(tmp_path / "samples", samples)
    processor = min(os.sched_getaffinity(0))
    result = tmp_path / "result.json"
    config = RooflineConfig(
        *("resnet50", str(compiled), str(tmp_path / "samples"), 2, [processor], 0.01, str(result))
    )
    (tmp_path / "config.json").write_text(config.to_json())
    done = subprocess.run(
        [sys.executable, "-m", "netrun.roofline", str(tmp_path / "config.json")],
        cwd=PACKAGE_ROOT,
        env=instance_environment([processor]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(json.loads(line)["total"] == 0.01 for line in done.stdout.splitlines())
    measured = json.loads(result.read_text())
    assert measured["rounds"] == 3
    assert measured["passes"] >= 9
    assert [layer["name"] for layer in measured["layers"]] == [
        each.name for each in program.operations
    ]
    stem = measured["layers"][0]
    assert (stem["source"], stem["output"]) == ([21, 21, 3], [10, 10, 32])
    assert stem["macs"] == 2 * useful_macs(program, operation(program, "stem"))
    assert all(layer["seconds"] > 0 and layer["kernel"] for layer in measured["layers"])
    rates = [probe["macs_per_s"] for probe in measured["probes"]]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0
    assert min(measured["read_bytes_per_s"], measured["copy_bytes_per_s"]) > 0
    assert measured["macs_with_padding"] == sum(program.macs().values())


def test_a_batch_is_spread_over_all_costs() -> None:
    assert middle([50, 10, 30, 20, 40, 60], 3) == [3, 4, 5]
    assert middle([7, 9], 4) == [0, 0, 1, 1]


def test_a_window_of_a_volume_is_measured_kernel_by_kernel() -> None:
    network = kits19_network()
    image = noise(1, 32, 32, 32)
    made = quantise_volumes(network, [{"image": image}], lambda done, total: None)
    (window,) = first_call(models.get("3d-unet"), [{"image": image}])["image"]
    passes = WindowPasses(VolumeNetwork(made, threads=1), window)
    passes.measure()
    passes.measure()
    layers = {layer.name: layer for layer in passes.layers()}
    # Per direction 32 outputs meet 3 inputs each but for the two at the edges; at stride 2 one.
    first, down = layers["input_block_conv1_2"], layers["downsample_0_conv1_2"]
    assert first.macs == 16 * (3 * 32 - 2) ** 3
    assert (down.macs, down.output) == (16 * 32 * (3 * 16 - 1) ** 3, (16, 16, 16, 32))
    assert layers["input_block_conv1_2 norm"].macs == 0
    assert layers["output_conv_0"].macs == 32**3 * 16 * 3
    assert passes.macs_with_padding() == network.widths.macs((32, 32, 32))
    assert sum(layer.seconds for layer in layers.values()) < 3 * passes.whole_ns() / 1e9


def test_an_artifact_that_does_not_fit_gets_one_line(
    compiled: Path, samples: np.ndarray, tmp_path: Path
) -> None:
    keep(tmp_path / "samples", samples)
    config = RooflineConfig(
        *(
            "resnet50",
            str(compiled),
            str(tmp_path / "samples"),
            1,
            [0],
            0.01,
            str(tmp_path / "result"),
        )
    )
    (tmp_path / "config.json").write_text(config.to_json())
    done = subprocess.run(
        [sys.executable, "-m", "netrun.roofline", str(tmp_path / "config.json")],
        cwd=PACKAGE_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert done.stdout.startswith(f"error: {compiled}: made for")
    assert done.stdout.count("\n") == 1
    assert not (tmp_path / "result").exists()


def test_the_largest_cache_counts(tmp_path: Path) -> None:
    for index, size in enumerate(("32K", "512K", "24M")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(f"{size}\n")
    assert last_level_cache(tmp_path) == 24 << 20
    assert last_level_cache(tmp_path / "absent") == 0
