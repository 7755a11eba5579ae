"""Weights files that their makers publish."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedFile:
    """A file to download, and how to know that it arrived whole."""

    name: str
    url: str
    what: str
    checksum: str | None = None
    """`md5:` or `sha256:` and hex digits, the first of them at least; None: ask `record`."""
    record: str | None = None
    """URL of a Zenodo record (JSON) that lists the file with its checksum."""
