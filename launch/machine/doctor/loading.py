"""Whether the packages that are installed can be loaded, tried in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from launch.machine.doctor.finding import Finding, Level, ok
from launch.supervise.environment import base_environment
from models.packages import IMPORTS, cure

TIMEOUT_S = 60.0


def check_loading(environment: Mapping[str, str] | None = None) -> list[Finding]:
    """A finding for each package that cannot be loaded, or one that says that all can."""
    wrong = unloadable(environment)
    if not wrong:
        return [ok("loading", f"{', '.join(IMPORTS)} can be loaded")]
    return [
        Finding(
            "loading",
            Level.MATTERS,
            f"{package} cannot be loaded: {message}",
            "what needs it ends with that error",
            cure(package, message),
        )
        for package, message in wrong.items()
    ]


def unloadable(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Try to import every package in a process of its own; what each says that cannot be."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except BaseException as error:\n"
        "        print(name, type(error).__name__, ' '.join(str(error).split()))\n"
        "    else:\n"
        "        print(name)\n"
    )
    words = [sys.executable, "-W", "ignore", "-c", code, *IMPORTS.values()]
    try:
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            env=base_environment(environment),
            check=False,
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"packages": f"cannot be tried ({error})"}
    packages = {module: package for package, module in IMPORTS.items()}
    wrong, tried = {}, []
    for line in done.stdout.splitlines():
        module, _, message = line.partition(" ")
        if module in packages:
            tried.append(module)
            if message:
                wrong[packages[module]] = message
    for module in IMPORTS.values():
        if module not in tried:
            # Loading it ended the process.
            wrong[packages[module]] = f"ends the process (exit code {done.returncode})"
            break
    return wrong
