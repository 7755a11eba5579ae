"""Engines side by side: which batch sizes, and their curves."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from drawings import Drawing

from bench.engines.__main__ import batch_sizes
from bench.engines.curves import curves, draw, series


def row(model: str, engine: str, batch: int, rate: float) -> dict[str, Any]:
    return {"model": model, "engine": engine, "batch": batch, "rate": rate}


ROWS = [
    row("resnet50", "ours", 1, 100.0),
    row("resnet50", "another", 1, 80.0),
    row("resnet50", "ours", 2, 125.0),
    row("resnet50", "another", 2, 160.0),
    row("mobilenet", "ours", 1, 500.0),
]


def test_sizes_and_ranges_of_them() -> None:
    assert batch_sizes("8") == [8]
    assert batch_sizes("1..4") == [1, 2, 3, 4]
    for text in ("0", "4..1", "1..", "..4", "many", "-2..3", "1...3"):
        with pytest.raises(argparse.ArgumentTypeError, match="no batch size"):
            batch_sizes(text)


def test_a_curve_is_the_time_of_a_sample_by_batch_size() -> None:
    ours, another = series("resnet50", ROWS)
    assert (ours.name, ours.points) == ("ours", [(1, 10.0), (2, 8.0)])
    assert another.points == [(1, 12.5), (2, 6.25)]
    head, one, two = (line.split() for line in curves("resnet50", ROWS))
    assert head == ["resnet50,", "ms", "per", "sample", "ours", "another"]
    assert one == ["batch", "1", "10.000", "12.500"]
    assert two == ["batch", "2", "8.000", "6.250"]


def test_curves_are_drawn_for_each_model() -> None:
    drawing = Drawing(draw(ROWS, "a processor", 2))
    assert {"resnet50", "mobilenet", "ours", "another", "a processor, 2 cores"} <= {
        *drawing.texts()
    }
    assert drawing.tips("circle") == [
        "ours, 1 samples in a batch: 10 ms per sample",
        "ours, 2 samples in a batch: 8 ms per sample",
        "another, 1 samples in a batch: 12.5 ms per sample",
        "another, 2 samples in a batch: 6.25 ms per sample",
        "ours, 1 samples in a batch: 2 ms per sample",
    ]
