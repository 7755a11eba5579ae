"""Contestants that take turns on the same cores, each a process: a line in, a line out."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Any

READY = "ready"
"""The line that a worker writes once it can begin."""
NEEDS = {"OpenVINO": ("openvino", "nncf"), "ONNX": ("onnxruntime", "onnx")}
"""Packages of peers, by the first word of their names."""


def installed(names: Sequence[str]) -> list[str]:
    """Those of the contestants whose packages are there."""
    return [
        name
        for name in names
        if all(importlib.util.find_spec(package) for package in NEEDS.get(name.split(" ")[0], ()))
    ]


def latency_settings(threads: int) -> dict[str, Any]:
    """How OpenVINO is asked to run one batch after the other, on threads of an instance."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }


class Worker:
    """A contestant's process: ``python -m MODULE WORDS...``, pinned, once it is ready."""

    def __init__(self, name: str, module: str, words: Sequence[str], cores: list[int]) -> None:
        """Start it, and wait; ends the program where it fails."""
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *words, str(len(cores))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        while (line := _pipe(self._process.stdout).readline()) != f"{READY}\n":
            if not line:
                sys.exit(f"{name} failed")

    def ask(self, line: str = "") -> list[float]:
        """Send a line; the numbers of the answer."""
        _pipe(self._process.stdin).write(f"{line}\n")
        _pipe(self._process.stdin).flush()
        return [float(word) for word in _pipe(self._process.stdout).readline().split()]


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
