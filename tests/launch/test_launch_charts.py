"""Charts: scales of names, colours of shares, lines, and pictures that need nothing else."""

from __future__ import annotations

import re
from functools import partial
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from drawings import Drawing

from launch.charts.axes import Categories, Linear, Logarithmic
from launch.charts.chart import Chart, heat, shortened
from launch.charts.lines import Series, line_chart, line_figure
from launch.charts.picture import Panel, picture, sheet, stylesheet

SIZES = (1, 2, 4, 8, 16)
INT8 = Series("int8", [(size, 2 + 6 / size) for size in SIZES])
BF16 = Series("bf16", [(size, 5 + 9 / size) for size in SIZES])


def places(drawing: ElementTree.Element, element: str, x: str, y: str) -> list[tuple[float, float]]:
    return [(float(each.attrib[x]), float(each.attrib[y])) for each in drawing.iter(element)]


def time_per_sample(*series: Series) -> Chart:
    return line_chart(
        series,
        "ms per sample",
        "samples in a batch",
        x=partial(Logarithmic, 1, 16, stops=SIZES),
    )


def test_names_stand_in_the_middle_of_their_room_the_first_at_the_top() -> None:
    scale = Categories(["a", "b"], (90, 10))
    assert scale.ticks() == [(0, "a"), (1, "b")]
    assert [scale(at) for at in (-0.5, 0, 0.5, 1, 1.5, 9)] == [10, 30, 50, 70, 90, 90]
    assert Categories([], (10, 90)).ticks() == []


def test_ticks_stand_where_they_are_asked_for() -> None:
    assert Logarithmic(1, 16, (0, 80), stops=SIZES).ticks() == [(n, str(n)) for n in SIZES]
    assert Linear(0, 1, (0, 80), count=0).ticks() == []


def test_a_share_has_one_of_ten_colours() -> None:
    assert [heat(share) for share in (-1, 0, 0.09, 0.1, 0.55, 0.999, 1, 2)] == [
        *("h0", "h0", "h0", "h1", "h5", "h9", "h9", "h9")
    ]
    # Each colour that code names is one of the stylesheet.
    colours = {
        f"{kind}{at}" for kind, count in (("c", 5), ("s", 7), ("h", 10)) for at in range(count)
    }
    assert colours <= {*re.findall(r"\.([csh]\d) { color", stylesheet())}


def test_colours_from_little_to_much_grow_lighter_evenly() -> None:
    found = re.findall(r"\.h\d { color: #(\w\w)(\w\w)(\w\w)", stylesheet())
    light = [
        sum(part * int(value, 16) for part, value in zip((0.3, 0.59, 0.11), colour, strict=True))
        for colour in found
    ]
    steps = [later - earlier for earlier, later in pairwise(light)]
    assert len(steps) == 9
    assert all(8 < step < 35 for step in steps)


def test_long_labels_lose_their_middle() -> None:
    assert shortened("layer1.conv1", 12) == "layer1.conv1"
    short = shortened("/encoder/layer.0/attention/MatMul", 16)
    assert len(short) == 16
    assert short.startswith("/enc")
    assert short.endswith("ion/MatMul")


def test_a_line_chart_draws_every_point_of_every_series() -> None:
    svg = ElementTree.fromstring(time_per_sample(INT8, BF16).svg("a title", "what it shows"))
    texts = [text.text for text in svg.iter("text")]
    assert {"ms per sample", "samples in a batch", "1", "2", "4", "8", "16", "0"} <= {*texts}
    lines = list(svg.iter("polyline"))
    assert [line.attrib["class"] for line in lines] == ["line s0", "line s1"]
    dots = places(svg, "circle", "cx", "cy")
    assert len(dots) == 10
    for line, own in zip(lines, (dots[:5], dots[5:]), strict=True):
        points = [tuple(map(float, at.split(","))) for at in line.attrib["points"].split()]
        for drawn, dot in zip(points, own, strict=True):
            assert drawn == pytest.approx(dot, abs=0.06)
        xs, ys = zip(*own, strict=True)
        # Equal ratios are equal steps; less time stands lower.
        assert [b - a for a, b in pairwise(xs)] == pytest.approx(
            [(xs[-1] - xs[0]) / 4] * 4, abs=0.02
        )
        assert list(ys) == sorted(ys)
    tips = [dot.findtext("title") for dot in svg.iter("circle")]
    assert tips[0] == "int8, 1 samples in a batch: 8 ms per sample"
    assert tips[-1] == "bf16, 16 samples in a batch: 5.56 ms per sample"


def test_one_series_needs_no_legend_and_several_have_one() -> None:
    alone = line_figure("Time", time_per_sample(INT8), [INT8])
    both = line_figure("Time", time_per_sample(INT8, BF16), [INT8, BF16], note="A note.")
    assert "legend" not in alone
    assert 'class="line c1"' in alone
    assert 'class="dot c1"' in alone
    keys = re.findall(r'class="key (\w+)"[^>]*></i>(\w+)<', both)
    assert keys == [("s0", "int8"), ("s1", "bf16")]
    assert "A note." in both
    assert "<desc" in both


def test_a_series_of_one_point_is_drawn_and_of_none_refused() -> None:
    svg = line_chart([Series("", [(3.0, 0.0)])], "ms", "size").svg("a", "b")
    assert svg.count("<circle") == 1
    assert "nan" not in svg
    with pytest.raises(ValueError, match="needs a point"):
        line_chart([Series("none", [])], "ms", "size")


def test_lines_without_dots_keep_the_colour_they_are_given() -> None:
    chart = line_chart([Series("a", INT8.points, "s4"), BF16], "ms", "size", dotted=False)
    svg = chart.svg("a", "b")
    assert "<circle" not in svg
    assert re.findall(r'class="line (\w+)"', svg) == ["s4", "s1"]


def test_panels_of_a_picture_do_not_lie_on_each_other() -> None:
    def panel(name: str) -> Panel:
        chart = line_chart([INT8], "ms", "size", sheet=sheet(300.0))
        return Panel(
            name, chart, "words", [("line c1", "a key"), ("heat", "much"), ("dot c2", "b")]
        )

    text = picture("<title> & more", "below " * 60, [panel("one"), panel("two")], [panel("three")])
    drawing = Drawing(text)
    boxes = [
        tuple(float(each.attrib[key]) for key in ("x", "y", "width", "height"))
        for each in drawing.find("svg", "chart")
    ]
    one, two, three = boxes
    assert one[1] + one[3] < two[1]
    assert one[0] + one[2] < three[0]
    assert one[1] == three[1]
    width, height = (float(drawing.root.attrib[key]) for key in ("width", "height"))
    for x, y, wide, high in boxes:
        assert x + wide < width
        assert y + high < height
    texts = drawing.texts()
    assert "<title> & more" in texts
    # A subtitle that is wider than the picture is broken into lines.
    assert sum(text.startswith("below") for text in texts) > 1
