"""Broken versions of a good input, the same ones in every run."""

from __future__ import annotations

import random
from collections.abc import Iterator

TOKENS = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",  # a lone surrogate
    b"\r",
    b"\x85",
    b"-1",
    b"1e999",
    b"NaN",
    b"-Infinity",
    b"9" * 5000,
    b"null",
    b"[]",
    b"{}",
    b"[" * 20_000,
    b'{"a":' * 20_000,
    b'"',
    b"\xef\xbb\xbf",
    b"../../../etc/passwd",
    b"$(touch hacked)",
    "\u0663".encode(),  # a digit that is not ASCII
    b"A" * 100_000,
)


def mutants(good: bytes, count: int, seed: int = 1) -> Iterator[bytes]:
    """Yield the extremes, each of TOKENS in a random place, then `count` random changes."""
    draw = random.Random(seed)
    yield from (b"", b"\0" * len(good), good * 2, good[::-1], good[: len(good) // 2])
    for token in TOKENS:
        yield token
        at, until = sorted(draw.randrange(len(good) + 1) for _ in range(2))
        yield good[:at] + token + good[at:]
        yield good[:at] + token + good[min(until, at + 12) :]
    for _ in range(count):
        changed = bytearray(good)
        for _ in range(draw.choice((1, 1, 2, 8))):
            at = draw.randrange(len(changed) or 1)
            kind = draw.randrange(4)
            if kind == 0:
                changed[at : at + 1] = bytes([draw.randrange(256)])
            elif kind == 1:
                changed[at : at + 1] = bytes(
                    [changed[at] ^ 1 << draw.randrange(8)] if changed else b""
                )
            elif kind == 2:
                del changed[at : at + draw.randrange(1, 64)]
            else:
                other = draw.randrange(len(changed) + 1)
                changed[at:at] = changed[other : other + draw.randrange(1, 64)]
        yield bytes(changed)
