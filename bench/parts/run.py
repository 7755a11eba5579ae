"""One LoadGen test as a benchmark runs it: the real processes, without the user's side.

loadrun and its instances are started as launch starts them (same modules, configuration files and
plan of processors); it leaves out the building of models, the supervision and the results.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from launch.configs import instance_spin_us, loadrun_spin_us
from launch.machine.plan import make_plan
from launch.machine.topology import read_topology
from launch.supervise.environment import base_environment, instance_environment
from loadrun.config import LoadrunConfig, Overrides
from models.samples import save
from models.task import Field
from netrun.config import NetrunConfig, SimulatedService
from shm.reclaim import reclaim

SAMPLES = 1024
SAMPLE_SHAPE = (4, 4, 3)
"""The engines null and sim never look at a sample."""
FIELD = Field("pixels", "|u1", SAMPLE_SHAPE)
TIMEOUT_S = 300.0
DISTURBED = 0.05
ATTEMPTS = 2
"""A test during which other processes took more of the machine is repeated once."""


@dataclass(frozen=True)
class Workload:
    """One test; `driver` is the module that drives LoadGen, loadrun itself by default.

    `modelled`: one process stands for all instances (engine sim, see `bench.parts.modelled`), on
    the last processor, which loadrun leaves to it. `processors` overrides the plan: (of loadrun, of
    all instances in turn). `costs`, SAMPLES of them in any unit, are what samples cost where that
    differs; a batch then has the work of `batch_cost` mean samples at most.
    """

    scenario: str
    engine: str = "null"
    instances: int = 2
    batch_size: int = 16
    batch_cost: float | None = None
    costs: Sequence[float] | None = None
    in_flight: int = 2
    policy: str = "pull"
    sort_samples: bool = True
    overrides: Overrides = field(default_factory=Overrides)
    sim: SimulatedService = field(default_factory=SimulatedService)
    driver: str = "loadrun"
    modelled: bool = False
    warmup_s: float = 0.1
    processors: tuple[Sequence[int], Sequence[int]] | None = None

    def without_rings(self, driver: str = "bench.parts.null_sut") -> Workload:
        """Return the same test without instances, answered by `driver` itself."""
        return replace(self, driver=driver)


def own_core() -> tuple[Sequence[int], Sequence[int]]:
    """Return `Workload.processors`: the last for loadrun alone, the others for the instances."""
    *others, own = sorted(os.sched_getaffinity(0))
    return [own], others or [own]


@dataclass(frozen=True)
class Outcome:
    """What a test gave: loadrun's report, and processor times (s) of whole processes.

    `others` is the share of the machine that processes of others took meanwhile.
    """

    report: dict[str, Any]
    detail_log: str
    driver_s: float
    instances_s: list[float]
    wall_s: float
    others: float

    @property
    def rate(self) -> float:
        """LoadGen's metric: samples/s, or ms in SingleStream and MultiStream."""
        value: float = self.report["loadgen"]["metric"]["value"]
        return value

    @property
    def valid(self) -> bool:
        """LoadGen's verdict."""
        return bool(self.report["loadgen"]["valid"])

    def latency_ms(self, percentile: str) -> float:
        """Return a latency by LoadGen's percentile ("p99")."""
        return float(self.report["loadgen"]["latencies_ns"][percentile] / 1e6)


def run(workload: Workload) -> Outcome:
    """Run a test to its end, a second time where others used the machine, and keep the quieter.

    Exits with the logs of what failed.
    """
    outcomes: list[Outcome] = []
    while len(outcomes) < ATTEMPTS and all(x.others > DISTURBED for x in outcomes):
        with tempfile.TemporaryDirectory(prefix="loadrun-bench-") as name:
            outcomes.append(_Run(workload, Path(name)).run())
    return min(outcomes, key=lambda outcome: outcome.others)


def _busy_s() -> float:
    """Processor time of the whole machine so far, that which the host took included."""
    fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()
    user, nice, system, _, _, interrupts, soft, stolen = map(int, fields[1:9])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


class _Places(NamedTuple):
    """What a plan says of where loadrun and each instance run, see `launch.machine.plan.Plan`."""

    loadrun: Sequence[int]
    instances: Sequence[Sequence[int]]
    spins: bool = False
    oversubscribed: bool = False


class _Run:
    def __init__(self, workload: Workload, directory: Path) -> None:
        self._workload = workload
        self._directory = directory
        self._run_id = f"bench{secrets.token_hex(6)}"
        self._rings = workload.driver == "loadrun"
        samples = directory / "samples"
        pixels = np.zeros(SAMPLE_SHAPE, np.uint8)
        save(samples, [FIELD], [{FIELD.name: pixels}] * SAMPLES, workload.costs)
        places = self._place()
        self._loadrun = LoadrunConfig(
            run_id=self._run_id,
            model="resnet50",
            scenario=workload.scenario,
            mode="PerformanceOnly",
            log_dir=str(directory / "logs"),
            samples=str(samples),
            sample_count=SAMPLES,
            report=str(directory / "report.json"),
            instances=workload.instances,
            batch_size=workload.batch_size,
            batch_cost=workload.batch_cost,
            in_flight=workload.in_flight,
            sort_samples=workload.sort_samples,
            processors=list(places.loadrun),
            spin_us=loadrun_spin_us(places.spins, workload.scenario),
            overrides=workload.overrides,
            policy=workload.policy,
        )
        self._netruns = [
            NetrunConfig(
                run_id=self._run_id,
                instance=index,
                model="resnet50",
                engine=workload.engine,
                precision="int8",
                artifact="",
                batch_size=workload.batch_size,
                batch_cost=workload.batch_cost,
                threads=1,
                report=str(directory / f"netrun_{index}.json"),
                processors=list(processors),
                warmup_s=workload.warmup_s,
                spin_us=instance_spin_us(places.spins, places.oversubscribed),
                sim=workload.sim,
            )
            for index, processors in enumerate(places.instances)
        ]

    def _place(self) -> _Places:
        workload = self._workload
        if not self._rings:
            return _Places(sorted(os.sched_getaffinity(0)), [])
        count, processors = workload.instances, workload.processors
        if workload.modelled:
            last, others = own_core()
            processors = others, last
        if processors is None:
            plan = make_plan(read_topology(), count, count, oversubscribe=True)
            placed = [instance.processors for instance in plan.instances]
            return _Places(plan.loadrun, placed, plan.spins, plan.oversubscribed)
        loadrun, cores = processors
        turns = [[cores[index % len(cores)]] for index in range(count)]
        return _Places(loadrun, turns, spins=not set(loadrun) & set(cores))

    def run(self) -> Outcome:
        started, busy_s, own_s = time.monotonic(), _busy_s(), time.process_time()
        driver = self._start(self._workload.driver, self._loadrun, base_environment(), None)
        processes = [driver]
        try:
            module, configs = "netrun", self._netruns
            words: tuple[str, ...] = ()
            if self._workload.modelled:
                module, words, configs = "bench.parts.modelled", (str(len(configs)),), configs[:1]
            for config in configs:
                processors = config.processors or []
                environment = instance_environment(processors)
                processes.append(self._start(module, config, environment, processors, *words))
            times = self._wait(processes)
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                    process.wait()
            reclaim(self._run_id)
        wall_s = time.monotonic() - started
        ours_s = sum(times) + time.process_time() - own_s
        others_s = max(0.0, _busy_s() - busy_s - ours_s)
        if any(process.returncode for process in processes):
            self._give_up(processes)
        log = (self._directory / "logs" / "mlperf_log_detail.txt").read_text(encoding="utf-8")
        others = others_s / wall_s / (os.cpu_count() or 1)
        return Outcome(self._report(), log, times[0], times[1:], wall_s, others)

    def _start(
        self,
        module: str,
        config: LoadrunConfig | NetrunConfig,
        environment: dict[str, str],
        processors: Sequence[int] | None,
        *words: str,
    ) -> subprocess.Popen[bytes]:
        name = f"netrun{config.instance}" if isinstance(config, NetrunConfig) else "loadrun"
        path = self._directory / f"{name}.config.json"
        path.write_text(config.to_json(), encoding="utf-8")
        mine = os.sched_getaffinity(0)
        if processors:
            os.sched_setaffinity(0, processors)
        try:
            with (self._directory / f"{name}.log").open("wb") as log:
                return subprocess.Popen(
                    [sys.executable, "-m", module, str(path), *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._directory,
                    env=environment,
                )
        finally:
            os.sched_setaffinity(0, mine)

    def _wait(self, processes: list[subprocess.Popen[bytes]]) -> list[float]:
        """Wait until all have ended, or one failed; return their processor times in s."""
        times = dict.fromkeys((process.pid for process in processes), 0.0)
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            for process in processes:
                if process.returncode is not None:
                    continue
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    process.returncode = os.waitstatus_to_exitcode(status)
                    times[pid] = usage.ru_utime + usage.ru_stime
            # The others would wait for one that failed.
            if any(process.returncode for process in processes) or all(
                process.returncode is not None for process in processes
            ):
                break
            time.sleep(0.05)
        return list(times.values())

    def _report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(
            (self._directory / "report.json").read_text(encoding="utf-8")
        )
        return report

    def _give_up(self, processes: list[subprocess.Popen[bytes]]) -> None:
        codes = [process.returncode for process in processes]
        logs = [
            f"{log.name}: {log.read_text(encoding='utf-8')[-1000:]}"
            for log in sorted(self._directory.glob("*.log"))
            if log.stat().st_size
        ]
        sys.exit("\n".join([f"a process failed (exit codes {codes})", *logs[:5]]))
