"""What one netrun process needs to know, as data: written by launch, read once at start."""

from __future__ import annotations

from dataclasses import dataclass, field

from base.configs import Config
from base.errors import ConfigError, quoted
from netrun.engines import ENGINES, PRECISIONS


@dataclass(frozen=True)
class SimulatedService:
    """Service time of the `sim` engine: a batch of b takes base_ms + b * sample_ms, times a factor
    drawn from a normal distribution around 1 with standard deviation `jitter`.

    `batch_ms`, where given, are the times of batches of 1, 2, ... samples instead; larger batches
    go on as the last two do. Time need not be proportional there: caches overflow.
    """

    base_ms: float = 0.4
    sample_ms: float = 4.3
    jitter: float = 0.05
    batch_ms: tuple[float, ...] = ()

    def mean_ms(self, batch: int) -> float:
        """The mean time of a batch of `batch` samples."""
        if not self.batch_ms:
            return self.base_ms + batch * self.sample_ms
        beyond = batch - len(self.batch_ms)
        last = self.batch_ms[-1]
        if beyond <= 0:
            return self.batch_ms[batch - 1]
        return last + beyond * (last - self.batch_ms[-2] if len(self.batch_ms) > 1 else last)

    def __post_init__(self) -> None:
        times = (self.base_ms, self.sample_ms, *self.batch_ms)
        if min(times) < 0 or not 0 <= self.jitter < 1:
            raise ConfigError(f"service times {quoted(self)} must not be negative, jitter below 1")


@dataclass(frozen=True)
class NetrunConfig(Config):
    """One instance.

    `artifact` is what `engine` executes (empty for `null` and `sim`). `report` is the JSON file
    that tells launch, once the instance is ready, how it runs. `warmup_s` is how long its rate is
    measured. `spin_us` is how long it looks for a batch before it sleeps: 0 where other instances
    need its processors. `memory_node` is recorded; the binding itself is made at the start.
    """

    run_id: str
    instance: int
    model: str
    engine: str
    precision: str
    artifact: str
    batch_size: int
    threads: int
    report: str
    processors: list[int] | None = None
    memory_node: int | None = None
    warmup_s: float = 2.0
    attach_timeout_s: float = 120.0
    spin_us: float = 100.0
    sim: SimulatedService = field(default_factory=SimulatedService)

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigError(f"unknown engine {quoted(self.engine)} (known: {', '.join(ENGINES)})")
        if self.precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise ConfigError(f"unknown precision {quoted(self.precision)} (known: {known})")
        if self.spin_us < 0:
            raise ConfigError(f"spin_us is {quoted(self.spin_us)}; it must be 0 or more")
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {quoted(getattr(self, name))}; it must be at least 1")
