"""One roofline from checked options to table, picture and JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import models
from base.checked import read
from base.errors import ExitCode, InterruptedRunError, RunError
from base.files import write_text
from launch.build.assets import Assets
from launch.build.prepare import prepare
from launch.machine.host import host, versions
from launch.outcome.results import write_json
from launch.roofline.figures import from_measurement
from launch.roofline.options import RooflineOptions
from launch.roofline.picture import draw as picture
from launch.roofline.subject import SYNTHETIC, Subject, announced, synthetic, title
from launch.roofline.table import draw, limits, totals
from launch.screen.terminal import Bar, Terminal
from launch.sizes.table import cut
from launch.supervise.environment import instance_environment
from launch.supervise.processes import Child, describe_end, end_all, error_line, start
from launch.supervise.signals import Signals
from launch.supervise.tail import Tail
from models import artifact
from models.task import NETWORK, VOLUMES
from netrun.engines.onednn.pack import KIND
from netrun.roofline.config import RooflineConfig
from netrun.roofline.measurement import Measurement

SCHEMA = 1
POLL_S = 0.1
LEAVE_S = 5.0


def roofline(options: RooflineOptions) -> ExitCode:
    """Measure, then show and write what was found; LoadrunError where that cannot be done."""
    terminal = Terminal(sys.stderr if options.json_on_stdout else sys.stdout)
    name = title(options)
    window = options.form == VOLUMES
    name += ", a window" if window else f", batch size {options.batch_size}"
    subject = announced(options, f"{name}: roofline", terminal)
    instance = subject.instance
    with Signals() as signals, tempfile.TemporaryDirectory(prefix="loadrun-roofline-") as folder:
        directory = Path(folder)
        assets = prepare(options, instance.processors, directory, terminal, signals)
        child = _start(options, subject, assets, directory)
        measured = _result(child, directory, terminal, signals)
    assert assets.artifact is not None
    facts: dict[str, Any] = {}
    if options.form == NETWORK:
        facts = artifact.read_facts(Path(assets.artifact), KIND)
    unit = models.get(options.model).unit if window else "samples"
    found = from_measurement(measured, options.batch_size, unit)
    record = {
        "schema": SCHEMA,
        "command": list(options.command),
        "model": options.model,
        "synthetic": synthetic(assets),
        "processors": list(instance.processors),
        "host": asdict(host(subject.topology)),
        "versions": {**versions(), "onednn": measured.library},
        **found.as_json(),
        **{key: facts[key] for key in ("cut", "cuts_ms", "stages", "references") if facts},
        "machine": asdict(measured.limits),
    }
    terminal.line()
    table, left_out = draw(found, terminal.width)
    terminal.table(table)
    if left_out:
        terminal.line(f"(a wider terminal or a pipe also shows: {', '.join(left_out)})")
    terminal.line()
    terminal.lines(limits(measured.limits))
    terminal.lines(totals(found))
    if facts:
        terminal.line(cut(facts))
    if synthetic(assets):
        terminal.line(SYNTHETIC)
    write_text(options.picture_path, picture(found, name, subject.machine))
    terminal.line(f"picture: {options.picture_path}")
    if options.json_on_stdout:
        print(json.dumps(record, indent=1))
    else:
        write_json(options.json_path, record)
        terminal.line(f"figures: {options.json_path}")
    return ExitCode.OK


def _start(options: RooflineOptions, subject: Subject, assets: Assets, directory: Path) -> Child:
    instance = subject.instance
    assert assets.artifact is not None
    config = RooflineConfig(
        model=assets.model,
        artifact=assets.artifact,
        samples=assets.samples.path,
        batch_size=options.batch_size,
        processors=list(instance.processors),
        seconds=options.seconds,
        result=str(directory / "result.json"),
    )
    path = directory / "roofline.config.json"
    path.write_text(config.to_json(), encoding="utf-8")
    return start(
        "roofline",
        [sys.executable, "-m", "netrun.roofline", str(path)],
        log=directory / "roofline.log",
        environment=instance_environment(instance.processors),
        pinning=subject.pinning,
        processors=instance.processors,
        memory_node=instance.memory_node,
    )


def _result(child: Child, directory: Path, terminal: Terminal, signals: Signals) -> Measurement:
    """Wait for the measurement, with progress; its result."""
    try:
        with terminal.bar("measuring") as bar:
            _watch(child, bar, signals)
    finally:
        end_all([child], signals, patience_s=LEAVE_S)
    code = child.ended()
    assert code is not None
    if code != 0:
        words = child.last_words()
        raise RunError(error_line(words) or f"measuring {describe_end(code)}:\n{words}")
    path = directory / "result.json"
    try:
        return read(Measurement, json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise RunError(f"{path}: not a measurement ({error})") from None


def _watch(child: Child, bar: Bar, signals: Signals) -> None:
    output = Tail(child.log)
    while child.ended() is None:
        for line in output.lines():
            if line.startswith('{"done"'):
                step = json.loads(line)
                bar.update(step["done"], step["total"], "peak, memory and every layer, in turns")
        signals.wait(POLL_S)
        if signals.ending is not None:
            raise InterruptedRunError(f"interrupted by {signals.ending.name}")
