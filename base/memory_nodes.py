"""Memory nodes (NUMA): pages that all instances read are spread over all of them."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ONLINE = Path("/sys/devices/system/node/has_memory")
_SET_MEMPOLICY = {"x86_64": 238, "aarch64": 237}
_DEFAULT, _INTERLEAVE = 0, 3
_WORD = 64


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

    Yields whether that is so: where there are several nodes, and the kernel lets it.
    """
    numbers, call = nodes(), _SET_MEMPOLICY.get(platform.machine())
    if len(numbers) < 2 or call is None:
        yield False
        return
    libc, words = ctypes.CDLL(None, use_errno=True), mask(numbers)
    bits = (ctypes.c_uint64 * len(words))(*words)
    set_policy = libc.syscall
    done = set_policy(call, _INTERLEAVE, bits, ctypes.c_ulong(_WORD * len(words) + 1)) == 0
    try:
        yield done
    finally:
        if done:
            set_policy(call, _DEFAULT, None, ctypes.c_ulong(0))
