"""`python -m bench.parts.null_sut CONFIG.json`: LoadGen with a SUT that completes at once.

No rings, no dispatch, no other thread: what LoadGen from Python can do at most on this machine. The
settings, the callbacks' guard and the batches handed to QuerySamplesComplete are those of loadrun.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import mlperf_loadgen as lg
import numpy as np

from loadrun.config import LoadrunConfig
from loadrun.library import SampleLibrary, arena_layout, open_samples
from loadrun.logs import parse_result
from loadrun.process import prepare_process, quiet_interpreter
from loadrun.report import PhaseClock, Report
from loadrun.responses import set_ids
from loadrun.run_test import run_test
from loadrun.settings import apply_measured_rate, load_settings
from shm.arena import SampleArena

RATE = 1e6


class NullSUT:
    """Completes every sample in the call that issues it, `batch_size` at a time."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._answer = np.zeros(1, np.int32)
        address = self._answer.ctypes.data
        self._responses = [lg.QuerySampleResponse(0, address, 4) for _ in range(batch_size)]

    def issue(self, ids: list[int], indices: list[int]) -> None:
        """Complete."""
        size, complete = self._batch_size, lg.QuerySamplesComplete
        for start in range(0, len(ids), size):
            batch = ids[start : start + size]
            responses = self._responses
            if len(batch) < size:
                responses = responses[: len(batch)]
            set_ids(responses, batch)
            complete(responses)

    def flush(self) -> None:
        """Nothing is ever outstanding."""


def main() -> int:
    """Run one test and write loadrun's report."""
    config = LoadrunConfig.load(sys.argv[1])
    prepare_process(config)
    report = Report(config.report, scenario=config.scenario, mode=config.mode)
    clock = PhaseClock(report.timings_s)
    settings = load_settings(config)
    apply_measured_rate(settings, config, RATE)
    samples = open_samples(config.samples, config.sample_count)
    arena = SampleArena.private(arena_layout(samples, settings.performance_sample_count))
    library = SampleLibrary(samples, arena)
    clock.mark("load")
    sut = NullSUT(config.batch_size)
    before_s = time.process_time()
    with quiet_interpreter():
        run_test(sut, library, settings.test, config.log_dir, None, _fail)
    report.processor_s = time.process_time() - before_s
    report.duration_s = clock.mark("test")
    result = parse_result(Path(config.log_dir))
    metric = result.metric
    report.loadgen = {
        "valid": result.valid,
        "metric": {"value": metric.value if metric else 0.0},
        "latencies_ns": result.latencies_ns,
    }
    report.status = "COMPLETE"
    report.write()
    return 0


def _fail(error: BaseException) -> None:
    # LoadGen would wait for ever.
    print(f"null SUT: {error}", file=sys.stderr, flush=True)
    os._exit(4)


if __name__ == "__main__":
    sys.exit(main())
