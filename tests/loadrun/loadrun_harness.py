"""Real loadrun processes, real LoadGen and workers of their own over the real rings."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadrun.config import LoadrunConfig, Overrides
from models.samples import Prepared, save
from models.task import Field

WORKER = Path(__file__).with_name("echo_worker.py")
ROOT = WORKER.parents[2]
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
SAMPLE_SHAPE = (4, 4, 3)


def make_samples(path: Path, count: int) -> Prepared:
    """Samples whose first four bytes hold their index, int32."""
    samples = np.zeros((count, *SAMPLE_SHAPE), np.uint8)
    samples.reshape(count, -1)[:, :4] = np.arange(count, dtype=np.int32)[:, None].view(np.uint8)
    return save(path, [Field("pixels", "|u1", SAMPLE_SHAPE)], [{"pixels": s} for s in samples])


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come about"
        time.sleep(0.005)


def segments(run_id: str) -> list[str]:
    """What is in /dev/shm of a run."""
    return sorted(name for name in os.listdir("/dev/shm") if f"loadrun.{run_id}." in name)  # noqa: PTH208


@dataclass
class RingRun:
    """A loadrun process and its workers; `config` may be replaced before `start`."""

    config: LoadrunConfig
    directory: Path
    command: Sequence[str] = (sys.executable, str(WORKER))
    loadrun: subprocess.Popen[str] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *worker_options: str) -> None:
        """Start loadrun and one worker per instance."""
        self.start_loadrun()
        for instance in range(self.config.instances):
            self.start_worker(instance, *worker_options)

    def start_loadrun(self) -> None:
        path = self.directory / "loadrun.json"
        path.write_text(self.config.to_json())
        self.loadrun = subprocess.Popen(
            [sys.executable, "-m", "loadrun", str(path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start_worker(self, instance: int, *options: str) -> subprocess.Popen[bytes]:
        command = [*self.command, *self.words(instance), *options]
        environment = {**os.environ, "PYTHONPATH": PATHS}
        self.workers.append(subprocess.Popen(command, cwd=ROOT, env=environment))
        return self.workers[-1]

    def words(self, instance: int) -> list[str]:
        """What a worker is told on its command line."""
        return [self.config.run_id, str(instance)]

    def finish(self, seconds: float = 60.0) -> tuple[int, str, str]:
        """Wait for loadrun; return exit code, stdout and stderr."""
        assert self.loadrun is not None
        out, err = self.loadrun.communicate(timeout=seconds)
        return self.loadrun.returncode, out, err

    def run(self, *worker_options: str) -> dict[str, Any]:
        """Run to the end, which must be a complete and clean one; return the report."""
        self.start(*worker_options)
        code, _, err = self.finish()
        assert (code, err) == (0, "")
        report = self.report()
        assert report["status"] == "COMPLETE"
        for worker in self.workers:
            assert worker.wait(10) == 0
        assert segments(self.config.run_id) == []
        return report

    def report(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(Path(self.config.report).read_text())
        return content

    def accuracy_log(self) -> list[dict[str, Any]]:
        text = (Path(self.config.log_dir) / "mlperf_log_accuracy.json").read_text()
        entries: list[dict[str, Any]] = json.loads(text)
        return entries

    def kill(self) -> None:
        for process in [self.loadrun, *self.workers]:
            if process is not None:
                if process.poll() is None:
                    process.kill()
                process.wait()
        for name in segments(self.config.run_id):
            (Path("/dev/shm") / name).unlink()


MakeRun = Callable[..., RingRun]


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., LoadrunConfig]:
    """A small, short and valid configuration; keywords replace its fields."""

    def make(**changes: Any) -> LoadrunConfig:
        config = LoadrunConfig(
            run_id=f"t{secrets.token_hex(6)}",
            model="resnet50",
            scenario="Offline",
            mode="PerformanceOnly",
            log_dir=str(tmp_path / "logs"),
            samples=str(tmp_path / "samples"),
            sample_count=64,
            report=str(tmp_path / "report.json"),
            instances=2,
            batch_size=4,
            overrides=Overrides(min_duration_s=1.0, min_query_count=1),
            start_timeout_s=20.0,
        )
        return replace(config, **changes)

    return make


@pytest.fixture
def make_run(tmp_path: Path, make_config: Callable[..., LoadrunConfig]) -> Iterator[MakeRun]:
    """A function that returns a RingRun; whatever is left of it is killed and removed."""
    runs: list[RingRun] = []

    def make(**changes: Any) -> RingRun:
        config = make_config(**changes)
        make_samples(Path(config.samples), config.sample_count)
        runs.append(RingRun(config, tmp_path))
        return runs[-1]

    yield make
    for run in runs:
        run.kill()
