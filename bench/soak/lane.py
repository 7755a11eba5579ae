"""Runs one after the other, each with its faults, each checked."""

from __future__ import annotations

import contextlib
import json
import math
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.soak.faults import INSTANCE_FAULTS, RUN_FAULTS, STALL_LIMIT_S, Fault, find
from launch.supervise.environment import base_environment
from loadrun.scenarios import MODES, OFFLINE, SCENARIOS, SERVER, SINGLE_STREAM
from shm.reclaim import find_runs

DRAWN_SCENARIOS = (*reversed(SCENARIOS), f"{SINGLE_STREAM.name} --through-ring")
DRAWN_MODES = ("PerformanceOnly", "PerformanceOnly", "AccuracyOnly", "SubmissionRun")
LONGEST_S = 90.0
"""A run of 2 s with all its faults ends within this; else it hangs."""
LEAVE_S = 5.0


@dataclass
class Tally:
    """What the soak counts; `worst_s` the longest ends by kind of fault."""

    runs: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    worst_s: dict[str, float] = field(default_factory=dict)
    redispatched: int = 0
    answered: int = 0
    hangs: int = 0
    lost: int = 0
    duplicated: int = 0
    left_over: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add the counts of another lane."""
        for name in ("runs", "outcomes", "faults"):
            getattr(self, name).update(getattr(other, name))
        for name in ("redispatched", "answered", "hangs", "lost", "duplicated", "left_over"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for fault, seconds in other.worst_s.items():
            self.worst_s[fault] = max(seconds, self.worst_s.get(fault, 0.0))
        self.wrong += other.wrong


class Lane:
    """One run at a time in `directory`; `images` are in the data set of `images_dir`."""

    def __init__(self, directory: Path, images_dir: Path, images: int, seed: int) -> None:
        self.tally = Tally()
        self._directory = directory
        self._images_dir = images_dir
        self._images = images
        self._draw = random.Random(seed)
        self._number = 0
        self._run_ids: set[str] = set()
        self._environment = {**base_environment(), "LOADRUN_CACHE": str(images_dir / "cache")}

    def once(self) -> None:
        """One run, its faults, its checks."""
        draw = self._draw
        self._number += 1
        self._home = self._directory / f"run{self._number}"
        self._home.mkdir(parents=True)
        scenario, mode = draw.choice(DRAWN_SCENARIOS), draw.choice(DRAWN_MODES)
        self._log = self._home / "output.txt"
        self._label = f"{self._home.name} of {self._directory.name}: {scenario} {mode}"
        with self._log.open("wb") as log:
            launch = psutil.Popen(
                self._command(scenario, mode),
                cwd=self._home,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        began = time.monotonic()
        inflicted, early, ending, at = self._inflict(launch, scenario)
        limit_s = LONGEST_S if ending is None else ending.within_s
        try:
            output, _ = launch.communicate(timeout=max(limit_s - (time.monotonic() - at), 0.1))
        except subprocess.TimeoutExpired:
            text = self._log.read_text(errors="replace", encoding="utf-8")[-400:]
            self._hang(f"runs {time.monotonic() - began:.0f} s: {inflicted}: {text}")
            launch.kill()
            launch.communicate()
            return
        if ending is not None:
            self._await_end()
            took_s, worst = time.monotonic() - at, self.tally.worst_s
            worst[ending.name] = max(took_s, worst.get(ending.name, 0.0))
            if took_s > limit_s:
                self._hang(f"took {took_s:.1f} s to end: {inflicted}")
        self.tally.runs[scenario] += 1
        self._judge(launch.returncode, output, inflicted, early, ending, mode)
        self._look_for_left_overs()

    def _command(self, scenario: str, mode: str) -> list[str]:
        draw = self._draw
        self._restarts = draw.choice((1000, 1000, 1000, 1))
        single = scenario.startswith(SINGLE_STREAM.name)
        instances = 1 if single else draw.randint(2, 4)
        words = ["run", "mobilenet", "--scenario", *scenario.split(), "--mode", mode, "--fast"]
        engine = draw.choice(("sim", "sim", "null"))
        words += ["--time", "2", "--engine", engine, "--json"]
        words += ["--batch-size", str(draw.choice((1, 3, 8))), "--in-flight", draw.choice("123")]
        words += ["--policy", draw.choice(("pull", "round_robin", "least_loaded"))]
        words += ["--instances", str(instances), "--cores", str(instances), "--oversubscribe"]
        words += ["--max-restarts", str(self._restarts), "--stall-limit", f"{STALL_LIMIT_S:g}"]
        if scenario == SERVER.name:
            words += ["--qps", str(draw.choice((50, 150, 400)))]
        elif scenario == OFFLINE.name and engine == "null":
            # Alone, the engine is far quicker than loadrun: its rate would make a long test.
            words += ["--qps", "5000"]
        return [sys.executable, "-m", "launch.cli", *words, "--images", str(self._images_dir)]

    def _inflict(
        self, launch: psutil.Popen, scenario: str
    ) -> tuple[list[str], bool, Fault | None, float]:
        """Do random harm at random moments; returns the faults, whether one came before the test,
        the last one if it ends the run, and when that was."""
        draw, inflicted = self._draw, []
        in_process = scenario == SINGLE_STREAM.name
        drawn = [] if in_process else draw.choices(INSTANCE_FAULTS, k=draw.randint(1, 6))
        if in_process or draw.random() < 0.3:
            drawn.append(draw.choice(RUN_FAULTS))
        early = draw.random() < 0.15
        if early:
            time.sleep(draw.random() * 3.0)
        else:
            self._await(launch, self._test_runs)
        for fault in drawn:
            process = None
            deadline = time.monotonic() + 5.0
            while process is None and launch.poll() is None and time.monotonic() < deadline:
                process = find(launch, fault.target, draw)
                time.sleep(0.01)
            if process is None or launch.poll() is not None:
                break
            before_test = not self._test_runs()
            with contextlib.suppress(psutil.Error):
                at = time.monotonic()
                fault.act(process)
                inflicted.append(fault.name)
                self.tally.faults[fault.name] += 1
                early = early or before_test
                if fault.ends_the_run:
                    return inflicted, early, fault, at
            time.sleep(draw.random() * 0.6)
        return inflicted, early, None, time.monotonic()

    def _await(self, launch: psutil.Popen, condition: Any) -> None:
        deadline = time.monotonic() + 30.0
        while not condition() and launch.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)

    def _test_runs(self) -> bool:
        for staging in self._home.glob("results/*/*/.staging-*"):
            self._run_ids.add(staging.name.removeprefix(".staging-"))
            with contextlib.suppress(OSError, ValueError, KeyError):
                report = json.loads((staging / "loadrun.json").read_text(encoding="utf-8"))
                return bool(report["status"] == "RUNNING")
        return False

    def _judge(
        self,
        code: int,
        output: bytes,
        inflicted: list[str],
        early: bool,
        ending: Fault | None,
        mode: str,
    ) -> None:
        tally = self.tally
        if code in (0, 3):
            # An ending fault that came when the run was over already is none.
            record = json.loads(output)
            tally.outcomes["complete"] += 1
            tally.redispatched += record["redispatched_samples"]
            self._count(record, mode)
            return
        if ending is not None and code in ending.codes:
            tally.outcomes["interrupted" if code != 4 else "failed, as it must"] += 1
            self._check_filed("FAILED" if code == 4 else "INTERRUPTED")
            return
        if code < 0 and ending is not None and not list(self._home.glob("results/*/*/.staging-*")):
            tally.outcomes["signalled before or after it all"] += 1
            return
        text = self._log.read_text(errors="replace", encoding="utf-8")
        exhausted = self._restarts == 1 and "no instance is left" in text
        unready = early and "before it" in text
        if code == 4 and (exhausted or unready):
            tally.outcomes["failed, as it must"] += 1
            self._check_filed("FAILED")
            return
        self._wrong(f"exit code {code} after {inflicted}: {text[-400:]}")

    def _count(self, record: dict[str, Any], mode: str) -> None:
        """Every sample that LoadGen issued was answered once, and none else."""
        fields = record["result"]["fields"]
        per_query = fields["effective_samples_per_query"]
        offline = SCENARIOS[record["scenario"]].at_once
        issued = 0
        if MODES[mode].performance:
            issued += fields["result_query_count"] * per_query
        if MODES[mode].accuracy:
            issued += self._images if offline else math.ceil(self._images / per_query) * per_query
        answered = sum(instance["samples"] for instance in record["instances"])
        self.tally.answered += answered
        self._unequal(issued, answered)
        if record["result"]["errors"]:
            self._wrong(f"LoadGen errors: {record['result']['errors']}")
        if MODES[mode].accuracy:
            (log,) = self._home.glob("results/*/*/mlperf_log_accuracy.json")
            seen = Counter(
                entry["qsl_idx"] for entry in json.loads(log.read_text(encoding="utf-8"))
            )
            self._unequal(self._images, len(seen))
            if max(seen.values()) > 1 and per_query == 1:
                self.tally.duplicated += 1
                self._wrong("an answer stands twice in the accuracy log")

    def _unequal(self, issued: int, answered: int) -> None:
        if issued != answered:
            self.tally.lost += max(issued - answered, 0)
            self.tally.duplicated += max(answered - issued, 0)
            self._wrong(f"{issued} samples issued, {answered} answered")

    def _check_filed(self, status: str) -> None:
        """The unfinished run is kept and says how it ended; the next run would file it."""
        self._await_end()
        done = subprocess.run(
            [sys.executable, "-m", "launch.cli", "clean"],
            cwd=self._home,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            self._wrong(f"clean: {done.stderr}")
        for record in self._home.glob("results/*/*/failed/*/run.json"):
            found = json.loads(record.read_text(encoding="utf-8"))["status"]
            if found != status:
                self._wrong(f"run.json says {found}, not {status}")

    def _await_end(self) -> None:
        deadline = time.monotonic() + LEAVE_S
        while self._processes() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(str(self._home) + "/" in word for word in process.cmdline()):
                    found.append(process)
        return found

    def _look_for_left_overs(self) -> None:
        self._await_end()
        for process in self._processes():
            self.tally.left_over += 1
            self._wrong(f"still runs: {process.cmdline()}")
            process.kill()
        for record in self._home.glob("results/**/run.json"):
            self._run_ids.add(json.loads(record.read_text(encoding="utf-8"))["run_id"])
        for run in find_runs():
            if run.run_id in self._run_ids:
                self.tally.left_over += len(run.files)
                self._wrong(f"left in /dev/shm: {run.files}")
        hidden = [p for p in self._home.glob("results/**/.*") if p.name != ".copy"]
        if hidden:
            self.tally.left_over += len(hidden)
            self._wrong(f"left in results: {hidden}")

    def _hang(self, text: str) -> None:
        self.tally.hangs += 1
        self._wrong(text)

    def _wrong(self, text: str) -> None:
        self.tally.wrong.append(f"{self._label}: {text}")
        print(f"  WRONG {self.tally.wrong[-1]}", flush=True)
