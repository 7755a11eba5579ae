"""Where things that are built once are kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from base.errors import InputError

NO_HOME = (
    "HOME is not set, and this user has no home directory: nowhere to keep what is built (cure:"
    " export LOADRUN_CACHE=DIR)"
)


SCRATCH = "MLPERF_SCRATCH_PATH"
"""A folder for everything, as other harnesses have it: see `launch.build.places`."""


def cache_directory(environment: Mapping[str, str] | None = None) -> Path:
    """LOADRUN_CACHE, else preprocessed_data/loadrun of MLPERF_SCRATCH_PATH, else the user's.

    That is XDG_CACHE_HOME/loadrun, else ~/.cache/loadrun.

    InputError where nothing says where that is.
    """
    source = os.environ if environment is None else environment
    if chosen := source.get("LOADRUN_CACHE"):
        return expanded(chosen, "LOADRUN_CACHE")
    if scratch := source.get(SCRATCH):
        return expanded(scratch, SCRATCH) / "preprocessed_data" / "loadrun"
    if base := source.get("XDG_CACHE_HOME"):
        return expanded(base, "XDG_CACHE_HOME") / "loadrun"
    # An empty HOME would mean the current directory.
    if source.get("HOME") == "":
        raise InputError(NO_HOME)
    try:
        home = Path.home()
    except RuntimeError:
        raise InputError(NO_HOME) from None
    return home.absolute() / ".cache" / "loadrun"


def writable_cache() -> Path:
    """The cache directory, created if it is missing; raises InputError where that is impossible."""
    cache = cache_directory()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cache directory {cache}: {error.strerror} (choose another with LOADRUN_CACHE)"
        ) from None
    return cache


def expanded(value: str, name: str) -> Path:
    """`value` as an absolute path, with a home directory in place of ~.

    InputError names the option or variable `name` where nobody has that home.
    """
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise InputError(
            f"{name} {value}: there is no such home directory (cure: a path without ~)"
        ) from None
