"""The child's side of building: a process of its own, told what to build by a configuration file.

The command line never imports torch this way, and an interrupt ends the building as a whole.
Progress goes to standard output, one JSON object a line (``{"stage": ..., "done": ..., "total":
...}`` or ``{"notice": ...}``); the result to the file that the configuration names, written whole.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launch.errors import ExitCode
from launch.space import FULL, room
from shm.parent import die_with_parent

if TYPE_CHECKING:
    from launch.assets import AssetsConfig

Progress = Callable[[str, int, int], None]
"""Told a stage, how much of it is done, and its total."""
Notice = Callable[[str], None]
"""Told what the user should know."""
Build = Callable[["AssetsConfig", Progress, Notice], Any]
"""Builds as configured; returns a dataclass."""


def run(build: Build, arguments: list[str]) -> int:
    """Build as the configuration file says; exit code 2 for bad input, 4 for a failure."""
    from launch.assets import AssetsConfig

    die_with_parent()
    values = json.loads(Path(arguments[0]).read_text())
    config = AssetsConfig(**{f.name: values[f.name] for f in fields(AssetsConfig)})

    def progress(stage: str, done: int, total: int) -> None:
        print(json.dumps({"stage": stage, "done": done, "total": total}), flush=True)

    def notice(text: str) -> None:
        print(json.dumps({"notice": text}), flush=True)

    from models import InputError
    from netrun.engines import EngineError

    handler = logging.Handler()
    handler.emit = lambda record: notice(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("models").addHandler(handler)
    try:
        built = build(config, progress, notice)
    except (InputError, EngineError) as error:
        print(f"error: {error}", flush=True)
        return ExitCode.USAGE
    except Exception as error:
        if isinstance(error, OSError) and (told := cache_trouble(error, Path(config.cache))):
            print(f"error: {told}", flush=True)
            return ExitCode.USAGE
        traceback.print_exc()
        print(f"error: {type(error).__name__}: {error}", flush=True)
        return ExitCode.FAILED
    result = Path(config.result)
    aside = result.with_suffix(".aside")
    aside.write_text(json.dumps(asdict(built)))
    aside.replace(result)
    return ExitCode.OK


def cache_trouble(error: OSError, cache: Path) -> str | None:
    """What is wrong with the cache, and the cure; None for an error that has another cause."""
    at = error.filename2 or error.filename
    inside = isinstance(at, str) and Path(at).is_relative_to(cache)
    if not inside and error.errno not in FULL:
        return None
    free = ""
    if error.errno in FULL and cache.exists():
        free = f", {room(cache)}"
    return (
        f"{at if inside else cache}: {error.strerror}{free} (the cache must be writable and have"
        " room; choose another with LOADRUN_CACHE)"
    )
