"""The first bytes of every segment: what it is, and whether it is complete.

| offset | bytes | field                                                             |
|-------:|------:|-------------------------------------------------------------------|
|      0 |     8 | magic: eight ASCII characters, written last                       |
|      8 |     8 | version of the layout (u64, little-endian like all numbers here)  |
|     16 |   8 n | n fields (u64), their meaning given by the module that owns them  |

The magic is written after everything else, so that a reader that sees it sees a finished segment.
"""

from __future__ import annotations

from collections.abc import Sequence

from shm.fence import Fence
from shm.segment import Segment, SegmentMissing, ShmError

FIELDS = 16


def write_header(segment: Segment, magic: bytes, version: int, fields: Sequence[int]) -> None:
    """Write version and fields (u64), then the magic: the segment is complete from then on."""
    with segment.buf[: FIELDS + 8 * len(fields)].cast("Q") as words:
        words[1] = version
        for index, value in enumerate(fields):
            words[2 + index] = value
        Fence().full()
        words[0] = int.from_bytes(magic, "little")


def read_header(segment: Segment, magic: bytes, version: int, count: int) -> list[int]:
    """Return `count` fields; SegmentMissing while unfinished, ShmError for another layout."""
    end = FIELDS + 8 * count
    if segment.size < end:
        raise ShmError(f"{segment.name}: {segment.size} bytes are too few for its header")
    with segment.buf[:end].cast("Q") as words:
        found_magic, found_version, *fields = words.tolist()
    if found_magic == 0:
        raise SegmentMissing(f"{segment.name}: is still being created")
    if found_magic != int.from_bytes(magic, "little"):
        found = found_magic.to_bytes(8, "little")
        raise ShmError(f"{segment.name}: magic is {found!r}, expected {magic!r}")
    if found_version != version:
        raise ShmError(
            f"{segment.name}: layout version is {found_version}, expected {version}; "
            "all processes of a run must come from one installation of loadrun"
        )
    return fields
