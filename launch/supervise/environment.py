"""The environment that child processes start with.

Inherited settings of OpenMP and of the mathematics libraries would change a run without a trace
in its results, so they are removed; what an instance needs is set from the plan. One is kept and
recorded: MAX_CPU_ISA, with which oneDNN can be held to an older instruction set.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

REMOVED = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "DNNL_", "ONEDNN_", "TORCH_")
MAX_CPU_ISA = "ONEDNN_MAX_CPU_ISA"
RECORDED = ("LD_", "GLIBC_TUNABLES", "MALLOC_", "MIMALLOC_", "TCMALLOC_", "PYTHON")
"""Beginnings of names that children keep and that change how they run: run.json lists them."""
PRELOAD = "LD_PRELOAD"
PRELOAD_FILE = Path("/etc/ld.so.preload")
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def recorded_environment(inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """What children keep of the user's environment and what changes how they run."""
    source = os.environ if inherited is None else inherited
    return {k: v for k, v in sorted(source.items()) if k.startswith(RECORDED)}


def preloaded(inherited: Mapping[str, str] | None = None, file: Path = PRELOAD_FILE) -> list[str]:
    """The libraries that are loaded into every process before its own (ld.so(8))."""
    source = os.environ if inherited is None else inherited
    found = source.get(PRELOAD, "").replace(":", " ").split()
    with contextlib.suppress(OSError):
        found += file.read_text(encoding="utf-8", errors="replace").replace(":", " ").split()
    return found


def base_environment(inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """The user's environment without settings that change how computation runs.

    Our packages are found from anywhere; output is not buffered, so that a log ends with a
    process's last words.
    """
    source = os.environ if inherited is None else inherited
    environment = {k: v for k, v in source.items() if k == MAX_CPU_ISA or not k.startswith(REMOVED)}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(PACKAGE_ROOT), *filter(None, [source.get("PYTHONPATH")])]
    )
    environment["PYTHONUNBUFFERED"] = "1"
    # Names and texts are the same in all processes of a run, whatever the locale.
    environment["PYTHONUTF8"] = "1"
    environment.pop("PYTHONIOENCODING", None)
    return environment


def instance_environment(
    processors: Sequence[int], inherited: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of a process that computes on `processors`, one OpenMP thread on each.

    Threads are bound one to a processor, in order: libgomp does so by GOMP_CPU_AFFINITY.
    """
    environment = base_environment(inherited)
    environment["OMP_NUM_THREADS"] = str(len(processors))
    environment["GOMP_CPU_AFFINITY"] = " ".join(str(p) for p in processors)
    environment["OMP_DYNAMIC"] = "FALSE"
    return environment
