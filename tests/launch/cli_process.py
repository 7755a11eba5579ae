"""The command line as a process of its own, in a directory of its own, with a few images."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from classifier_samples import prepare_samples
from PIL import Image

from launch.supervise.environment import PACKAGE_ROOT
from models.imagenet.classifier import classifier, classifiers
from models.imagenet.dataset import image_folder

IMAGES = 24


def environment(cache: Path, *modules: Path) -> dict[str, str]:
    """This one without the user's LOADRUN_..., with `cache`; modules are looked for there first."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("LOADRUN_", "MLPERF_"))},
        "PYTHONPATH": os.pathsep.join(map(str, (*modules, PACKAGE_ROOT))),
        "LOADRUN_CACHE": str(cache),
    }


class Cli:
    """Runs `loadrun` in a directory of its own, with a small folder of images.

    They are preprocessed, once for all tests of a session: workers to do it take a second to start.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.images = directory / "images"
        self.images.mkdir()
        generator = np.random.default_rng(7)
        lines = []
        for number in range(IMAGES):
            pixels = generator.integers(0, 256, (64, 80, 3), np.uint8)
            Image.fromarray(pixels).save(self.images / f"{number:03}.png")
            lines.append(f"{number:03}.png {number}\n")
        (self.images / "val_map.txt").write_text("".join(lines))
        shutil.copytree(self._prepared(), directory / "cache")
        self.environment = environment(directory / "cache")
        self.words: tuple[str, ...] = ("--images", str(self.images), "--engine", "sim")

    def _prepared(self) -> Path:
        """A cache with these images, whose names and contents are always the same."""
        cache = self.directory.parent / "prepared"
        for name in classifiers():
            prepare_samples(classifier(name), image_folder(self.images), cache)
        return cache

    def start(self, *words: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start a test, under the command `before` if there is one."""
        return self.command(*words, *self.words, before=before)

    def command(self, *words: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start any command."""
        return subprocess.Popen(
            [*before, sys.executable, "-m", "launch.cli", *words],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str) -> tuple[int, str]:
        process = self.start(*words)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def refused(self, prefix: list[str], timeout_s: float) -> str:
        """What a run under another command says, in one line, before it has begun."""
        words = [sys.executable, "-m", "launch.cli", "run", "resnet50", "--fast", *self.words]
        done = subprocess.run(
            [*prefix, *words],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        assert done.returncode == 2, done.stdout + done.stderr
        assert done.stderr.startswith("loadrun: error: ")
        assert done.stderr.count("\n") == 1
        return done.stderr

    def record(self, place: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / place / "run.json").read_text())
        return found


def arguments_of(process: psutil.Process) -> set[Path]:
    with contextlib.suppress(psutil.Error):
        return {parent for word in process.cmdline() for parent in Path(word).parents}
    return set()


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come about"
        time.sleep(0.02)
