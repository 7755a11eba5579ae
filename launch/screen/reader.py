"""Writing for somebody who may have gone away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def reader_may_be_gone() -> Iterator[None]:
    """A closed terminal or pipe must not end a run: output to it is lost."""
    with contextlib.suppress(OSError):
        yield
