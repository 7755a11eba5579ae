"""Short time slices: asked for without privilege, inherited by threads, visible in /proc."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import threading
from pathlib import Path
from loadrun.scheduling import ask_for_short_slices

def slice_ns():
    lines = Path(f"/proc/self/task/{threading.get_native_id()}/sched").read_text().splitlines()
    return next((int(x.split(":")[1]) for x in lines if x.startswith("se.slice")), None)

def tell():
    print(slice_ns())

granted = ask_for_short_slices()
print(granted)
thread = threading.Thread(target=tell)
thread.start()
thread.join()
"""


def test_slices_are_shorter_where_the_kernel_grants_them() -> None:
    words = [sys.executable, "-c", PROGRAM]
    root = Path(__file__).parents[2]
    said = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout
    granted, inherited = said.split()
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    if granted != "True" or inherited == "None" or release < (6, 12):
        pytest.skip("this kernel has one slice for all, or does not show it")
    assert int(inherited) == 100_000
