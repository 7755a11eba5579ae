"""A /dev/shm of a command's own: a tmpfs in a mount namespace."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def in_private_shm(options: str) -> list[str]:
    """Words to put before a command: its /dev/shm is a tmpfs mounted with `options`.

    Skips the test where mount namespaces are not allowed.
    """
    mount = f'mount -t tmpfs -o {options} tmpfs /dev/shm && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], check=False).returncode:
        pytest.skip("a private /dev/shm needs unshare and the right to mount (root)")
    return words
