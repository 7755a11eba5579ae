"""The roofline's figures by hand, its table, its picture, and what the command refuses."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from drawings import Drawing

from base.checked import read, written
from launch.machine.instructions import features
from launch.roofline.figures import Roofline, from_measurement
from launch.roofline.picture import draw as draw_picture
from launch.roofline.table import draw, limits, rows, slowest, totals, widest_gaps
from launch.screen.terminal import Terminal
from netrun.roofline.measurement import Layer, Limits, Measurement, Rate

WIDE = Layer("wide", (56, 56, 64), (56, 56, 64), "jit_int8:avx2", 40_000_000, 400_000, 800e-6)
THIN = Layer("thin", (56, 56, 64), (56, 56, 64), "jit_int8:avx2", 2_000_000, 500_000, 125e-6)
POOL = Layer("pool", (112, 112, 64), (56, 56, 64), "jit:avx2", 0, 1_000_000, 75e-6)
FOUND = Roofline((WIDE, POOL, THIN), 100e9, 10e9, batch_size=2, whole_s=1250e-6)
"""100 GMAC/s and 10 GB/s: the roof's ridge is at 10 MAC a byte."""
MEASURED = Measurement(
    library="3.2",
    limits=Limits(
        rounds=3,
        passes=9,
        probes=(Rate("3x3", "jit_int8:avx2", 100e9), Rate("matrix", "gemm", 80e9)),
        read_bytes_per_s=8e9,
        copy_bytes_per_s=10e9,
        array_bytes=128 << 20,
        macs_with_padding=41_000_000,
    ),
    whole_s=1250e-6,
    layers=(WIDE,),
)


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
        "the peak allows 4761.9 samples/s; peak and memory together 3636.4 samples/s",
    ]


def test_the_roof_is_the_best_of_what_was_measured() -> None:
    found = from_measurement(read(Measurement, json.loads(json.dumps(written(MEASURED)))), 2)
    assert (found.peak, found.bandwidth) == (100e9, 10e9)
    assert found.layers == (WIDE,)
    assert limits(MEASURED.limits) == [
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


def test_the_picture_names_what_it_shows() -> None:
    drawing = Drawing(draw_picture(FOUND, "MobileNet", "a processor"))
    texts = drawing.texts()
    assert "MobileNet: 1600.0 samples/s, 34% of the int8 peak" in texts
    for axis in (
        "rate in GMAC/s",
        "intensity in MAC per byte of activations and weights",
        "time of a batch in ms",
        "time in µs",
        "share of int8 peak, 0 to 100%",
    ):
        assert axis in texts
    assert [text for text in texts if text in ("wide", "pool", "thin")] == ["wide", "pool", "thin"]
    assert "int8 peak 100.0 GMAC/s" in texts
    assert "memory 10.0 GB/s" in texts
    assert "1.25 ms (1600.0 samples/s)" in texts
    assert "1  wide  +400 µs" in texts


def test_dots_and_bars_of_the_picture_are_the_layers() -> None:
    drawing = Drawing(draw_picture(FOUND, "MobileNet", "a processor"))
    # Only layers with work have a place below the roof; areas are to one another as the times.
    assert drawing.tips("circle") == [
        "wide: 800 µs, 50.0 GMAC/s, 50% of the peak",
        "thin: 125 µs, 16.0 GMAC/s, 16% of the peak",
    ]
    wide, thin = (dot for dot in drawing.find("circle", "dot") if dot.find("{*}title") is not None)
    area = (float(wide.attrib["r"]) / float(thin.attrib["r"])) ** 2
    assert area == pytest.approx(800 / 125, rel=0.01)
    assert "h5" in wide.attrib["class"].split()
    assert "h1" in thin.attrib["class"].split()
    # Both axes are logarithmic: from 4 to 100 MAC a byte, the roof's ridge at 10.
    roof = next(iter(drawing.find("polyline", "c0"))).attrib["points"].split()
    _, ridge, end = ([float(value) for value in point.split(",")] for point in roof)
    x, first = float(wide.attrib["cx"]), float(thin.attrib["cx"])
    assert (ridge[0] - first) / (x - first) == pytest.approx(
        math.log(10 / 4) / math.log(100 / 4), abs=0.01
    )
    assert ridge[1] == end[1] < float(wide.attrib["cy"]) < float(thin.attrib["cy"])
    bars = [tip for tip in drawing.tips("rect") if "the roof allows" in tip]
    assert bars == [
        "wide: 800 µs; the roof allows 400 µs",
        "pool: 75 µs; the roof allows 100 µs",
        "thin: 125 µs; the roof allows 50 µs",
    ]
    # A mark for each, and the one that parts it from its bar.
    assert len(drawing.find("polyline", "c2")) == 6


def test_a_long_network_is_drawn_whole() -> None:
    layers = [replace(WIDE, name=f"encoder.layer.{k}.attention.output") for k in range(300)]
    drawing = Drawing(draw_picture(replace(FOUND, layers=tuple(layers)), "BERT", "a processor"))
    assert len([tip for tip in drawing.tips("rect") if "the roof allows" in tip]) == 300


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
