"""What ``netrun.roofline`` measures: written by it as JSON, read by launch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from base.checked import FLAT


@dataclass(frozen=True)
class Rate:
    """What a probe reached: `macs_per_s` is the best of its rounds."""

    name: str
    kernel: str
    macs_per_s: float


@dataclass(frozen=True)
class Layer:
    """One operation on one batch: its work, the bytes it must move at least, its median time."""

    name: str
    source: tuple[int, ...]
    output: tuple[int, ...]
    kernel: str
    macs: int
    bytes: int
    seconds: float

    @property
    def intensity(self) -> float:
        """Multiply-accumulates for each byte moved."""
        return self.macs / self.bytes

    @property
    def rate(self) -> float:
        """Multiply-accumulates a second."""
        return self.macs / self.seconds


class Measured(Protocol):
    """A program of which passes are measured, kernel by kernel and as a whole."""

    def warm(self) -> None:
        """One pass that does not count."""
        ...

    def measure(self) -> None:
        """One pass kernel by kernel, one as a whole."""
        ...

    def __len__(self) -> int: ...

    def whole_ns(self) -> float:
        """The median of whole passes."""
        ...

    def layers(self) -> tuple[Layer, ...]:
        """Each kernel, with its median time."""
        ...

    def macs_with_padding(self) -> int:
        """The work of a sample as networks are usually compared."""
        ...


@dataclass(frozen=True)
class Limits:
    """The machine's limits: `probes`, the fastest first, and rates of the memory.

    `array_bytes` is the size of each array that was read or copied, `macs_with_padding` the work of
    a sample as networks are usually compared.
    """

    rounds: int
    passes: int
    probes: tuple[Rate, ...]
    read_bytes_per_s: float
    copy_bytes_per_s: float
    array_bytes: int
    macs_with_padding: int


@dataclass(frozen=True)
class Measurement:
    """All of it: `library` is oneDNN's version, `whole_s` the median time of a whole batch."""

    library: str
    limits: Limits = field(metadata=FLAT)
    whole_s: float
    layers: tuple[Layer, ...]
