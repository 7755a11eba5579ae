"""Following a log that another process writes."""

from __future__ import annotations

from pathlib import Path

from base.text import FOREIGN


class Tail:
    """Gives the lines of a file as they are completed; a file that is not there has none yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_to = 0

    def lines(self) -> list[str]:
        """Lines completed since the last call."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._read_to)
                data = log.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._read_to += len(whole)
        return whole.decode(errors=FOREIGN).splitlines()
