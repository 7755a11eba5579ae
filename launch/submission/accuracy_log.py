"""The accuracy log as a submission holds it: its ends, and the checksum of the whole.

Source: tools/submission/truncate_accuracy_log.py of mlcommons/inference, which leaves alone a log
that was truncated like this.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

END_BYTES = 4096
"""Bytes kept of either end."""


def truncate(log: Path, place: Path) -> str:
    """Write the kept part of `log` to `place`; return the whole log's SHA-256, hexadecimal."""
    digest = hashlib.sha256()
    with log.open("rb") as source:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
        size = source.tell()
        source.seek(0)
        if size <= 2 * END_BYTES:
            kept = source.read()
        else:
            kept = source.read(END_BYTES) + b"\n\n...\n\n"
            source.seek(size - END_BYTES)
            kept += source.read()
    place.write_bytes(kept)
    return digest.hexdigest()


def accuracy_text(measured: str, sha256: str) -> str:
    """Return accuracy.txt: the official line, and the hash of the whole log."""
    return f"{measured}\n\nhash={sha256}\n"
