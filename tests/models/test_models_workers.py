"""A worker goes with its parent, however early that goes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from launch.supervise.environment import PACKAGE_ROOT


@pytest.mark.parametrize(("parent", "code"), [("os.getppid()", 0), ("-1", 1)])
def test_a_worker_whose_parent_went_before_it_began(parent: str, code: int) -> None:
    program = f"import os; from models.workers import _start_worker; _start_worker({parent}, print)"
    done = subprocess.run([sys.executable, "-c", program], cwd=PACKAGE_ROOT, check=False)
    assert done.returncode == code
