"""A /dev/shm, or another file system, of a command's own: a tmpfs in a mount namespace."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def in_private_shm(options: str, place: str = "/dev/shm") -> list[str]:
    """Words to put before a command: its `place` is a tmpfs mounted with `options`.

    Skips the test where mount namespaces are not allowed.
    """
    mount = f'mount -t tmpfs -o {options} tmpfs "$0" && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", mount, place]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], check=False).returncode:
        pytest.skip("a private file system needs unshare and the right to mount (root)")
    return words
