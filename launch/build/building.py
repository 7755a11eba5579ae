"""The child's side of building: a process of its own, told what to build by a configuration file.

The command line never imports torch this way, and an interrupt ends the building as a whole.
Progress goes to standard output, one JSON object a line (``{"stage": ..., "done": ..., "total":
...}`` or ``{"notice": ...}``); the result to the file that the configuration names, written whole.
"""

from __future__ import annotations

import errno
import json
import logging
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from base.configs import Config
from base.errors import ExitCode, InputError, LoadrunError
from base.files import write_text
from base.parent import die_with_parent
from launch.machine.limits import check, need_for_build, no_memory
from launch.outcome.room import FULL, room
from models.packages import cannot_load


@dataclass(frozen=True)
class AssetsConfig(Config):
    """What to build. Paths are absolute; None is the embedded synthetic default.

    `processors` are those of an instance, on which what has to be measured is measured; empty
    leaves it to the kernel.
    """

    model: str
    weights: str | None
    images: str | None
    labels: str | None
    calibration: str | None
    engine: str
    precision: str
    batch_size: int
    threads: int
    processors: list[int]
    cache: str
    result: str


SYNTHETIC, COMPILING = "synthetic model and images", "calibrating and compiling"
WITH_TORCH = (SYNTHETIC, COMPILING)
"""Stages that load torch."""
Progress = Callable[[str, int, int], None]
"""Told a stage, how much of it is done, and its total."""
Notice = Callable[[str], None]
"""Told what the user should know."""
Build = Callable[[AssetsConfig, Progress, Notice], Any]
"""Builds as configured; returns a dataclass."""


def run(build: Build, arguments: list[str]) -> int:
    """Build as the configuration file says; exit code 2 for bad input, 4 for a failure."""
    die_with_parent()
    config = AssetsConfig.load(arguments[0])

    begun: set[str] = set()

    def progress(stage: str, done: int, total: int) -> None:
        if stage not in begun:
            # Only now: what is there already needs neither memory nor torch.
            begun.add(stage)
            check(need_for_build(stage in WITH_TORCH), f"building ({stage})")
            if stage in WITH_TORCH:
                # Where it cannot be loaded, that is said before minutes of work.
                import_module("torch")
        print(json.dumps({"stage": stage, "done": done, "total": total}), flush=True)

    def notice(text: str) -> None:
        print(json.dumps({"notice": text}), flush=True)

    from netrun.engines import EngineError

    handler = logging.Handler()
    handler.emit = lambda record: notice(record.getMessage())  # type: ignore[method-assign]
    for package in ("base", "models"):
        logging.getLogger(package).addHandler(handler)
    try:
        built = build(config, progress, notice)
    except (InputError, EngineError, LoadrunError) as error:
        print(f"error: {error}", flush=True)
        return ExitCode.USAGE
    except Exception as error:
        if reason := cannot_load(error) or no_memory(error):
            print(f"error: {reason}", flush=True)
            return ExitCode.USAGE
        if isinstance(error, OSError) and (told := cache_trouble(error, Path(config.cache))):
            print(f"error: {told}", flush=True)
            return ExitCode.USAGE
        traceback.print_exc()
        print(f"error: {type(error).__name__}: {error}", flush=True)
        return ExitCode.FAILED
    write_text(Path(config.result), json.dumps(asdict(built)))
    return ExitCode.OK


def cache_trouble(error: OSError, cache: Path) -> str | None:
    """What is wrong with the cache, and the cure; None for an error that has another cause."""
    at = error.filename2 or error.filename
    inside = isinstance(at, str) and Path(at).is_relative_to(cache)
    if error.errno == errno.EFBIG:
        return f"{at}: {error.strerror} (cure: ulimit -f unlimited)"
    if not inside and error.errno not in FULL:
        return None
    free = ""
    if error.errno in FULL and cache.exists():
        free = f", {room(cache)}"
    return (
        f"{at if inside else cache}: {error.strerror}{free} (the cache must be writable and have"
        " room; choose another with LOADRUN_CACHE)"
    )
