"""``python -m netrun.roofline CONFIG.json``: measure peak, bandwidth and every layer.

Peak, bandwidth and the program take turns in rounds, so that a machine that changes its speed
changes it for all. Progress goes to standard output, one JSON object a line; the result to the file
that the configuration names, whole.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from base.checked import written
from base.errors import ExitCode
from base.files import write_text
from base.parent import die_with_parent
from models import artifact
from models.program import Program
from models.samples import Prepared
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.executor import Executor
from netrun.engines.onednn.pack import KIND
from netrun.roofline.bandwidth import Bandwidth
from netrun.roofline.config import RooflineConfig
from netrun.roofline.layers import Passes, touched_bytes, useful_macs
from netrun.roofline.measurement import Layer, Limits, Measurement
from netrun.roofline.peak import probes

ROUND_S = 1.0
LEAST_ROUNDS = 3
LEAST_PASSES = 3
"""Passes of a round at least, however long one takes."""


def measure(config: RooflineConfig, progress: Callable[[float, float], None]) -> Measurement:
    """The machine's limits and every layer's work and time.

    Raises artifact.ArtifactError for an artifact that does not fit, dnn.OneDNNError where the
    library cannot be used.
    """
    threads = len(config.processors)
    compiled = artifact.read(Path(config.artifact), KIND)
    executor = Executor(compiled, config.batch_size, threads)
    samples = Prepared.open(Path(config.samples))
    passes = Passes(executor, samples.column(samples.fields[0].name))
    bandwidth = Bandwidth(config.processors)
    read, copy = 0.0, 0.0
    tries = probes(threads)
    began = time.monotonic()
    rounds = 0
    while rounds < LEAST_ROUNDS or time.monotonic() - began < config.seconds:
        progress(min(time.monotonic() - began, config.seconds), config.seconds)
        read, copy = max(read, bandwidth.read()), max(copy, bandwidth.copy())
        for probe in tries:
            probe.measure()
        passes.warm()
        ends, least = time.monotonic() + ROUND_S, len(passes) + LEAST_PASSES
        while len(passes) < least or time.monotonic() < min(ends, began + config.seconds):
            passes.measure()
        rounds += 1
    rates = sorted((probe.rate() for probe in tries), key=lambda rate: -rate.macs_per_s)
    return Measurement(
        library=dnn.load().version,
        limits=Limits(
            rounds=rounds,
            passes=len(passes),
            probes=tuple(rates),
            read_bytes_per_s=read,
            copy_bytes_per_s=copy,
            array_bytes=bandwidth.bytes,
            macs_with_padding=sum(executor.program.macs().values()),
        ),
        whole_s=passes.whole_ns() / 1e9,
        layers=_layers(executor, passes),
    )


def _layers(executor: Executor, passes: Passes) -> tuple[Layer, ...]:
    program, batch = executor.program, executor.batch_size
    return tuple(
        Layer(
            name=kernel.operation.name,
            source=_shape(program, kernel.operation.source),
            output=_shape(program, kernel.operation.output),
            kernel=kernel.implementation,
            macs=useful_macs(program, kernel.operation) * batch,
            bytes=touched_bytes(program, kernel.operation, batch),
            seconds=float(ns) / 1e9,
        )
        for kernel, ns in zip(executor.kernels(), passes.kernels_ns(), strict=True)
    )


def _shape(program: Program, name: str) -> tuple[int, ...]:
    return tuple(program.tensors[name].shape)


def main(arguments: list[str]) -> int:
    """Measure as the configuration file says; exit code 4 with one line for a failure."""
    die_with_parent()
    config = RooflineConfig.load(Path(arguments[0]))

    def progress(done: float, total: float) -> None:
        print(json.dumps({"done": done, "total": total}), flush=True)

    try:
        result = measure(config, progress)
    except (artifact.ArtifactError, dnn.OneDNNError) as error:
        print(f"error: {error}", flush=True)
        return ExitCode.FAILED
    write_text(Path(config.result), json.dumps(written(result)))
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
