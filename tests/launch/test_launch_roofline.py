"""The roofline's figures by hand, its table, its picture, and what the command refuses."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from launch.cli import main
from launch.instructions import features
from launch.roofline import picture
from launch.roofline.figures import Layer, Roofline, from_measurement
from launch.roofline.table import draw, limits, rows, slowest, totals, widest_gaps
from launch.terminal import Terminal

# 100 GMAC/s and 10 GB/s: the roof's ridge is at 10 MAC a byte.
WIDE = Layer("wide", (56, 56, 64), (56, 56, 64), "jit_int8:avx2", 40_000_000, 400_000, 800e-6)
THIN = Layer("thin", (56, 56, 64), (56, 56, 64), "jit_int8:avx2", 2_000_000, 500_000, 125e-6)
POOL = Layer("pool", (112, 112, 64), (56, 56, 64), "jit:avx2", 0, 1_000_000, 75e-6)
FOUND = Roofline((WIDE, POOL, THIN), 100e9, 10e9, batch_size=2, whole_s=1250e-6)
MEASURED = {
    "probes": [
        {"name": "3x3", "kernel": "jit_int8:avx2", "macs_per_s": 100e9},
        {"name": "matrix", "kernel": "gemm", "macs_per_s": 80e9},
    ],
    "read_bytes_per_s": 8e9,
    "copy_bytes_per_s": 10e9,
    "array_bytes": 128 << 20,
    "whole_s": 1250e-6,
    "layers": [
        {
            "name": "wide",
            "source": [56, 56, 64],
            "output": [56, 56, 64],
            "kernel": "jit_int8:avx2",
            "macs": 40_000_000,
            "bytes": 400_000,
            "seconds": 800e-6,
        }
    ],
}


def test_a_layer_right_of_the_ridge_is_bound_by_the_peak() -> None:
    assert WIDE.intensity == 100
    assert WIDE.rate == pytest.approx(50e9)
    assert FOUND.bound(WIDE) == 100e9
    assert FOUND.limit_of(WIDE) == pytest.approx(400e-6)
    assert FOUND.share_of_bound(WIDE) == pytest.approx(0.5)


def test_a_layer_left_of_the_ridge_is_bound_by_memory() -> None:
    assert THIN.intensity == 4
    assert FOUND.bound(THIN) == 40e9
    assert FOUND.limit_of(THIN) == pytest.approx(50e-6)
    assert FOUND.share_of_bound(THIN) == pytest.approx(0.4)


def test_a_layer_without_work_still_moves_bytes() -> None:
    assert FOUND.limit_of(POOL) == pytest.approx(100e-6)
    # Faster than memory: the bytes were in a cache.
    assert FOUND.share_of_bound(POOL) == pytest.approx(4 / 3)


def test_totals_by_hand() -> None:
    assert FOUND.macs == 42_000_000
    assert FOUND.kernels_s == pytest.approx(1000e-6)
    assert FOUND.kernels_share == pytest.approx(0.8)
    assert FOUND.limit_s == pytest.approx(550e-6)
    assert FOUND.samples_per_s == pytest.approx(1600)
    assert FOUND.peak_samples_per_s == pytest.approx(2 * 100e9 / 42e6)
    assert FOUND.share_of_peak == pytest.approx(33.6 / 100)
    assert totals(FOUND) == [
        "batch of 2: 0.042 GMAC in 1.25 ms: 1600.0 samples/s, 34% of the int8 peak",
        "kernels 1.00 ms of 1.25 ms (80%)",
        "the peak allows 4761.9 samples/s; peak and memory together 3636.4",
    ]


def test_the_roof_is_the_best_of_what_was_measured() -> None:
    found = from_measurement(MEASURED, 2)
    assert (found.peak, found.bandwidth) == (100e9, 10e9)
    assert found.layers == (WIDE,)
    assert limits(MEASURED) == [
        "int8 peak: 100.0 GMAC/s, the best of 2 layers that suit the kernels (3x3, jit_int8:avx2)",
        "memory: 10.0 GB/s, the better of reading (8.0) and copying (10.0 read and written)"
        " 128 MiB",
    ]


def test_rows_in_execution_order_and_one_for_all() -> None:
    shapes = "56x56x64 -> 56x56x64"
    assert rows(FOUND)[0] == (
        *("wide", shapes, "jit_int8:avx2", "40.0", "400", "100.0", "800", "80.0%"),
        *("50.0", "50%", "100.0", "50%"),
    )
    assert rows(FOUND)[1] == (
        *("pool", "112x112x64 -> 56x56x64", "jit:avx2", "", "1000", "", "75", "7.5%"),
        *("", "", "", "133%"),
    )
    assert rows(FOUND)[3] == (
        *("3 kernels", "", "", "42.0", "1900", "22.1", "1000", "100.0%"),
        *("42.0", "42%", "76.4", "55%"),
    )


def test_a_pipe_gets_the_whole_table() -> None:
    long = replace(WIDE, name="a.layer.whose.name.is.long", kernel="brgconv_1x1:avx512_core_vnni")
    found = replace(FOUND, layers=(long, POOL))
    table, left_out = draw(found)
    stream = io.StringIO()
    Terminal(stream).table(table)
    shown = next(line for line in stream.getvalue().splitlines() if "a.layer" in line)
    assert shown.split() == " ".join(rows(found)[0]).split()
    assert len(shown) > 120
    assert left_out == []
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("width", [80, 90, 110, 130, 200])
def test_a_narrow_terminal_gets_fewer_columns(width: int) -> None:
    table, left_out = draw(FOUND, width)
    stream = io.StringIO()
    Terminal(stream).table(table)
    assert max(len(line.rstrip()) for line in stream.getvalue().splitlines()) <= width
    assert (left_out == []) == (width == 200)
    assert left_out[:1] in ([], ["in -> out"])
    assert not {"layer", "time", "share", "rate"} & {*left_out}


def test_slowest_and_widest_gap_are_not_the_same() -> None:
    assert slowest(FOUND, 2) == [WIDE, THIN]
    near = replace(WIDE, name="near", seconds=410e-6)
    far = replace(THIN, name="far", seconds=300e-6)
    both = replace(FOUND, layers=(near, far))
    assert slowest(both, 1) == [near]
    assert widest_gaps(both, 1) == [far]


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_the_picture_is_written_whole(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"picture{suffix}"
    picture.write(FOUND, path, "MobileNet", "a processor")
    assert path.read_bytes().startswith(magic)
    assert list(tmp_path.iterdir()) == [path]


def test_the_picture_names_what_it_shows() -> None:
    figure = picture.draw(FOUND, "MobileNet", "a processor")
    roof, gap, times, bar = figure.axes
    assert (roof.get_xscale(), roof.get_yscale()) == ("log", "log")
    labels = [axis.get_xlabel() for axis in (roof, gap, times)]
    assert all(unit in label for unit, label in zip(("MAC", "ms", "us"), labels, strict=True))
    assert "GMAC/s" in roof.get_ylabel()
    assert "int8 peak" in bar.get_ylabel()
    assert [label.get_text() for label in times.get_yticklabels()] == ["wide", "pool", "thin"]
    texts = " ".join(text.get_text() for text in roof.texts)
    assert "int8 peak 100.0 GMAC/s" in texts
    assert "memory 10.0 GB/s" in texts
    # Only layers with work have a place below the roof.
    assert np.shape(roof.collections[-1].get_offsets()) == (2, 2)


def test_a_picture_without_matplotlib_is_refused_before_measuring(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(picture, "available", lambda: False)
    path = tmp_path / "picture.png"
    assert main(["roofline", "mobilenet", "--picture", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"loadrun: error: --picture {path} needs matplotlib: pip install 'loadrun[report]'\n"
    )


def test_features_are_read_from_the_processor(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(
        "processor\t: 0\nflags\t\t: fpu avx avx2 avx512f avx512_vnni\n"
    )
    assert features(tmp_path) == ("AVX2", "AVX512", "AVX512-VNNI")
    assert features(tmp_path / "absent") == ()


def test_figures_are_json(tmp_path: Path) -> None:
    values = json.loads(json.dumps(FOUND.as_json()))
    assert values["total"]["kernels_share"] == pytest.approx(0.8)
    assert [layer["name"] for layer in values["layers"]] == ["wide", "pool", "thin"]
    assert values["layers"][1]["macs_per_s"] == 0
