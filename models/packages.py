"""Packages that are installed and cannot be loaded: which, why, and the cure."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

IMPORTS = {
    "numpy": "numpy",
    "posix_ipc": "posix_ipc",
    "psutil": "psutil",
    "pillow": "PIL.Image",
    "mlcommons-loadgen": "mlperf_loadgen",
    "torch": "torch",
    "torchao": "torchao",
}
"""What to import to see whether a package can be loaded, in this order."""
_LIBRARY = re.compile(r"(?P<file>[\w./+-]*\.so[\w.]*): (?:cannot open|failed to map|.*undefined)")
_DEBIAN = {"libgomp.so.1": "libgomp1", "libstdc++.so.6": "libstdc++6", "libnuma.so.1": "libnuma1"}
"""Packages of Debian that hold libraries which wheels take from the system."""


def cannot_load(error: BaseException) -> str | None:
    """What an error of an import means for the user; None for an error of another kind.

    torch loads its libraries through ctypes, which raises an OSError without a number.
    """
    text = " ".join(str(error).split())
    if isinstance(error, ImportError):
        name = (error.name or "").partition(".")[0]
    elif isinstance(error, OSError) and error.errno is None and ".so" in text:
        name = ""
    else:
        return None
    package = next((p for p, module in IMPORTS.items() if module.partition(".")[0] == name), "")
    what = package or name or ("torch" if "torch" in text else "a package")
    return f"{what} cannot be loaded: {text[:300]} (cure: {cure(what, text)})"


def cure(package: str, text: str) -> str:
    """The command that mends it."""
    found = _LIBRARY.search(text)
    file = found["file"].rpartition("/")[2] if found else ""
    if "failed to map" in text or "Cannot allocate memory" in text:
        return "ulimit -v unlimited, or more memory for the container"
    if file in _DEBIAN:
        return f"apt-get install {_DEBIAN[file]}"
    known = package if package in IMPORTS else "loadrun"
    return installing(f"--force-reinstall {known}")


def installing_extra(name: str) -> str:
    """The command that installs what an extra of loadrun consists of."""
    return installing(f"'loadrun[{name}]'")


def installing(what: str) -> str:
    """The command that installs something for this interpreter.

    The scripts and make run in an environment that is not on the PATH: another pip would look for a
    loadrun elsewhere.
    """
    pip = shutil.which("pip")
    if pip is not None and Path(pip).parent == Path(sys.executable).parent:
        return f"pip install {what}"
    return f"{shlex.quote(sys.executable)} -m pip install {what}"
