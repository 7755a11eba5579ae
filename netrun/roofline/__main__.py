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

import models
from base.checked import written
from base.errors import ExitCode
from base.files import write_text
from base.parent import die_with_parent
from models import artifact, volume_program
from models.samples import Prepared
from models.task import ENCODER, RANKING, TRANSDUCER, VOLUMES
from netrun.engines import EngineError
from netrun.engines.engine import EngineSpec
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.executor import Executor
from netrun.engines.onednn.pack import KIND
from netrun.engines.ranking.engine import executor as ranking
from netrun.engines.recorder import first_call
from netrun.engines.rows import stacked
from netrun.engines.transducer.engine import TransducerEngine
from netrun.engines.transformer.engine import EncoderRun
from netrun.engines.volumes.network import VolumeNetwork
from netrun.roofline.bandwidth import Bandwidth
from netrun.roofline.batch import typical
from netrun.roofline.config import RooflineConfig
from netrun.roofline.layers import Passes
from netrun.roofline.measurement import Limits, Measured, Measurement
from netrun.roofline.pairs import PairPasses
from netrun.roofline.peak import probes
from netrun.roofline.sequences import SequencePasses
from netrun.roofline.utterances import UtterancePasses
from netrun.roofline.windows import WindowPasses

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
    passes = _measured(config, threads)
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
            macs_with_padding=passes.macs_with_padding(),
        ),
        whole_s=passes.whole_ns() / 1e9,
        layers=passes.layers(),
    )


def _measured(config: RooflineConfig, threads: int) -> Measured:
    """What the artifact holds, ready to be measured on the samples."""
    path, samples = Path(config.artifact), Prepared.open(Path(config.samples))
    task = models.get(config.model)
    part, *_ = task.parts
    if part.form == TRANSDUCER:
        spec = EngineSpec(task, "int8", path, config.batch_size, threads)
        return UtterancePasses(task, TransducerEngine(spec), typical(samples, config.batch_size))
    if part.form == VOLUMES:
        window, *_ = first_call(task, [samples[0]])[part.inputs[0].name]
        return WindowPasses(VolumeNetwork(volume_program.load(path)[0], threads), window)
    if part.form == ENCODER:
        given = first_call(task, typical(samples, config.batch_size))
        return SequencePasses(EncoderRun(path, threads), stacked(part, given))
    if part.form == RANKING:
        return PairPasses(ranking(path, threads), samples, config.batch_size)
    compiled = artifact.read(path, KIND)
    executor = Executor(compiled, config.batch_size, threads)
    widened: dict[str, int] = compiled.facts.get("widened", {})
    return Passes(executor, samples.column(samples.fields[0].name), widened)


def main(arguments: list[str]) -> int:
    """Measure as the configuration file says; exit code 4 with one line for a failure."""
    die_with_parent()
    config = RooflineConfig.load(Path(arguments[0]))

    def progress(done: float, total: float) -> None:
        print(json.dumps({"done": done, "total": total}), flush=True)

    try:
        result = measure(config, progress)
    except (artifact.ArtifactError, dnn.OneDNNError, EngineError) as error:
        print(f"error: {error}", flush=True)
        return ExitCode.FAILED
    write_text(Path(config.result), json.dumps(written(result)))
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
