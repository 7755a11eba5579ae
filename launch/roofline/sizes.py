"""The times of all batch sizes, from an artifact's table to table, picture and JSON.

Nothing is measured here but what building the artifact measures, where it is missing.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from base.errors import ExitCode
from base.files import write_text
from launch.build.prepare import prepare
from launch.charts.axes import Categories, Linear, number
from launch.charts.chart import Chart
from launch.charts.lines import colours
from launch.charts.picture import Panel, picture, sheet
from launch.machine.host import host, versions
from launch.outcome.results import write_json
from launch.roofline.options import RooflineOptions
from launch.roofline.subject import SYNTHETIC, announced, synthetic, title
from launch.screen.terminal import Terminal
from launch.sizes.chart import chart, series
from launch.sizes.figures import Size, from_facts
from launch.sizes.table import draw as table
from launch.sizes.table import sentences
from launch.supervise.signals import Signals
from models import artifact
from netrun.engines.onednn.pack import KIND

SCHEMA = 1
WIDTH, HEIGHT, BAR = 760.0, 300.0, 27.0
KEPT = ("cut", "cuts_ms", "stages", "references")
"""What of an artifact's facts goes into the JSON file beside the sizes."""


def sizes(options: RooflineOptions) -> ExitCode:
    """Build the artifact if it is missing, then show and write what it keeps of batch sizes."""
    terminal = Terminal(sys.stderr if options.json_on_stdout else sys.stdout)
    name = f"{title(options)}: batch sizes 1 to {options.batch_size}"
    subject = announced(options, name, terminal)
    with Signals() as signals, tempfile.TemporaryDirectory(prefix="loadrun-sizes-") as folder:
        processors = subject.instance.processors
        assets = prepare(options, processors, Path(folder), terminal, signals)
    assert assets.artifact is not None
    facts = artifact.read_facts(Path(assets.artifact), KIND)
    found = from_facts(facts)
    record = {
        "schema": SCHEMA,
        "command": list(options.command),
        "model": options.model,
        "synthetic": synthetic(assets),
        "processors": list(processors),
        "host": asdict(host(subject.topology)),
        "versions": {**versions(), "onednn": facts["machine"]["library"]},
        "artifact": Path(assets.artifact).name,
        "batch_size": options.batch_size,
        **{key: facts[key] for key in KEPT},
        "sizes": [size.as_json() for size in found],
    }
    terminal.line()
    terminal.table(table(found))
    terminal.line()
    terminal.lines(sentences(found, facts))
    if synthetic(assets):
        terminal.line(SYNTHETIC)
    write_text(options.picture_path, draw(found, facts, name, subject.machine))
    terminal.line(f"picture: {options.picture_path}")
    if options.json_on_stdout:
        print(json.dumps(record, indent=1))
    else:
        write_json(options.json_path, record)
        terminal.line(f"figures: {options.json_path}")
    return ExitCode.OK


def draw(found: Sequence[Size], facts: Mapping[str, Any], name: str, machine: str) -> str:
    """The picture as the text of an SVG file: time of a sample by batch size, and ways to cut."""
    lines = series(found)
    best = min(found, key=lambda size: size.sample_ms)
    legend = [
        (f"line {colour}", line.name) for line, colour in zip(lines, colours(lines), strict=True)
    ]
    panels = [
        Panel(
            "Time of a sample by the size of its batch",
            chart(lines, sheet(WIDTH), HEIGHT),
            f"Least at {best.samples} samples: {best.sample_ms:.3f} ms.",
            legend if len(lines) > 1 else (),
        )
    ]
    if len(facts["cuts_ms"]) > 1:
        panels.append(
            Panel(
                f"Ways to cut a batch of {len(found)}: what a chunk's tensors may fill",
                _cuts(facts),
                f"Chosen: {facts['cut']}.",
            )
        )
    return picture(f"{name}, {number(best.rate)} samples/s at best", machine, panels)


def _cuts(facts: Mapping[str, Any]) -> Chart:
    times: Mapping[str, float] = facts["cuts_ms"]
    bars = Chart(
        "",
        "time of a batch in ms",
        lambda ends: Linear(0.0, max(times.values()) * 1.25, ends),
        lambda ends: Categories([*times], ends),
        height=BAR * len(times),
        sheet=sheet(WIDTH),
        rules="x",
    )
    for place, (name, ms) in enumerate(times.items()):
        chosen = name == facts["cut"]
        text = f"{ms:.2f} ms{', chosen' * chosen}"
        colour = "c1" if chosen else "c3"
        bars.box((0, ms), (place - 0.36, place + 0.36), f"{name}: {text}", colour)
        bars.text((ms, place), text, "unit", "start", by=(6, 4))
    return bars
