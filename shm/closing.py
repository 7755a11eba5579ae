"""What segments and all that lies in them have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Closing(ABC):
    """A context manager: it is unmapped at the end, and removed by who created it."""

    @abstractmethod
    def close(self) -> None:
        """Unmap; idempotent."""

    @abstractmethod
    def unlink(self) -> None:
        """Remove; idempotent, and nothing unless this object created it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        self.unlink()
