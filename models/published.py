"""What makers publish of a task: weights, and data sets with where they are looked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class PublishedFile:
    """A file to download, and how to know that it arrived whole."""

    name: str
    """A path below the folder that it goes to, where it has slashes."""
    url: str
    what: str
    checksum: str | None = None
    """`md5:` or `sha256:` and hex digits, the first of them at least; None: ask `record`."""
    record: str | None = None
    """URL of a Zenodo record (JSON) that lists the file with its checksum.

    Without it and a checksum none is published: the length that the server says is all there is.
    """
    beside: bool = False
    """Whether it belongs beside the first of the weights, and comes along with them."""
    unpacks_to: str | None = None
    """Of an archive (.zip, .tar.gz): the folder below, for what is in it; "" is the data set's."""


@dataclass(frozen=True)
class DataFolder:
    """A data set in a folder of its own below one of data sets, MLPERF_SCRATCH_PATH/data."""

    name: str
    """Of the folder: `imagenet`."""
    title: str
    """What people call the data set."""
    places: Mapping[str, str] = field(default_factory=dict)
    """By option of a run, where in the folder its value is: a path, or the pattern of one."""
    files: tuple[PublishedFile, ...] = ()
    """What may be downloaded."""
    listed: Callable[[Path], Sequence[PublishedFile]] | None = None
    """More of it, that `files` name once they are in the folder; InputError where they do not."""
    terms: str = ""
    """Where a licence must be accepted: the address, and what to put into the folder then."""
