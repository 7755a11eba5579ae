"""The building process: ``python -m launch.build CONFIG.json RESULT.json``.

A process of its own, so that the command line never imports torch, and an interrupt ends the
building as a whole. Progress goes to standard output, one JSON object a line (``{"stage": ...,
"done": ..., "total": ...}`` or ``{"notice": ...}``), an error as ``error: ...``, and the result, an
`Assets`, to a file of its own, written whole.
"""

from __future__ import annotations

import errno
import json
import logging
import traceback
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from base.errors import ExitCode, LoadrunError
from base.files import write_text
from base.parent import die_with_parent
from launch.build.assets import BuildConfig
from launch.machine.limits import check, need_for_build, no_memory
from launch.outcome.room import FULL, room
from models.packages import cannot_load


def main(arguments: Sequence[str]) -> ExitCode:
    """Make what the configuration file says; 2 for bad input, 4 for a failure."""
    die_with_parent()
    config, result = BuildConfig.load(arguments[0]), Path(arguments[1])
    notices: list[str] = []

    def notice(text: str) -> None:
        notices.append(text)
        print(json.dumps({"notice": text}), flush=True)

    from netrun.engines import EngineError

    handler = logging.Handler()
    handler.emit = lambda record: notice(record.getMessage())  # type: ignore[method-assign]
    for package in ("base", "models"):
        logging.getLogger(package).addHandler(handler)
    try:
        # Only now: what it imports may be what cannot be loaded.
        from launch.build.make import make

        assets = make(config, _Stages(), notice)
    except (LoadrunError, EngineError) as error:
        return _refused(str(error))
    except Exception as error:
        if reason := cannot_load(error) or no_memory(error):
            return _refused(reason)
        if isinstance(error, OSError) and (trouble := cache_trouble(error, Path(config.cache))):
            return _refused(trouble)
        traceback.print_exc()
        print(f"error: {type(error).__name__}: {error}", flush=True)
        return ExitCode.FAILED
    write_text(result, replace(assets, notices=notices).to_json())
    return ExitCode.OK


class _Stages:
    """Prints how far each stage is."""

    def __init__(self) -> None:
        self._begun: set[str] = set()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._begun:
            # Only now: finding files in the cache needs neither memory nor torch.
            self._begun.add(stage)
            self._begin(stage)
        print(json.dumps({"stage": stage, "done": done, "total": total}), flush=True)

    @staticmethod
    def _begin(stage: str) -> None:
        from launch.build.make import COMPILING, SYNTHETIC

        with_torch = stage == COMPILING or stage.startswith(SYNTHETIC)
        check(need_for_build(with_torch), f"building ({stage})")
        if with_torch:
            # Where it cannot be loaded, the error comes before minutes of work.
            import_module("torch")


def _refused(why: str) -> ExitCode:
    print(f"error: {why}", flush=True)
    return ExitCode.USAGE


def cache_trouble(error: OSError, cache: Path) -> str | None:
    """Describe an error of the cache, with the cure; None for an error with another cause."""
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
