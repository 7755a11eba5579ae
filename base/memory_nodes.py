"""Memory nodes (NUMA): pages that all instances read are spread over all of them."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ONLINE = Path("/sys/devices/system/node/has_memory")
_CALLS = {"x86_64": (238, 239), "aarch64": (237, 236)}
"""Numbers of set_mempolicy and get_mempolicy."""
_INTERLEAVE = 3
_WORD = 64
_MOST = 1024
"""Nodes that a kernel may have: it wants room for all when it is asked for the policy."""


def nodes(path: Path = ONLINE) -> list[int]:
    """The nodes that have memory; none where the kernel does not say."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return []
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def mask(numbers: list[int]) -> list[int]:
    """The nodes as 64-bit words of bits, as the kernel takes them."""
    words = [0] * (max(numbers, default=0) // _WORD + 1)
    for number in numbers:
        words[number // _WORD] |= 1 << number % _WORD
    return words


@contextmanager
def interleaved() -> Iterator[bool]:
    """New pages of this thread, also those of files that it reads, come from all nodes in turn.

    Yields whether that is so: where there are several nodes, and the kernel lets it. Afterwards the
    policy is what it was: an instance is bound to its node.
    """
    numbers, calls = nodes(), _CALLS.get(platform.machine())
    if len(numbers) < 2 or calls is None:
        yield False
        return
    put, get = calls
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    most, mode = ctypes.c_ulong(_MOST + 1), ctypes.c_int()
    before = (ctypes.c_uint64 * (_MOST // _WORD + 1))()
    wanted = (ctypes.c_uint64 * len(before))(*mask(numbers))
    done = (
        syscall(get, ctypes.byref(mode), before, most, None, ctypes.c_ulong(0)) == 0
        and syscall(put, _INTERLEAVE, wanted, most) == 0
    )
    try:
        yield done
    finally:
        if done:
            syscall(put, mode, before, most)
