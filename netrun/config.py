"""What one netrun process needs to know, as data: written by launch, read once at start."""

from __future__ import annotations

from dataclasses import dataclass, field

from base.configs import Config
from base.errors import ConfigError, quoted
from netrun.engines import ENGINES, PRECISIONS


@dataclass(frozen=True)
class SimulatedService:
    """Service time of the `sim` engine, times a factor drawn from a normal distribution around 1
    with standard deviation `jitter`.

    A batch takes base_ms + work * sample_ms + longest * longest_ms, where work is the sum of its
    samples' costs and longest the largest of them: a recurrent network reads its weights once a
    step, for as many steps as the longest sample has. Where costs are equal, work is the number of
    samples.

    `batch_ms`, where given, are the times of batches of 1, 2, ... mean samples instead of the first
    two terms; between them time is interpolated, beyond them it goes on as the last two do. Time
    need not be proportional there: caches overflow.
    """

    base_ms: float = 0.4
    sample_ms: float = 4.3
    jitter: float = 0.05
    batch_ms: tuple[float, ...] = ()
    longest_ms: float = 0.0

    def mean_ms(self, work: float, longest: float = 1.0) -> float:
        """The mean time of a batch of that work (in mean samples), and its largest cost."""
        return self._of_work_ms(work) + longest * self.longest_ms

    def _of_work_ms(self, work: float) -> float:
        times = self.batch_ms
        if not times:
            return self.base_ms + work * self.sample_ms
        if len(times) == 1:
            return work * times[0]
        # Beyond the table its last step is repeated, before it the first.
        below = min(max(1, int(work)), len(times) - 1)
        first, second = times[below - 1], times[below]
        return max(0.0, first + (work - below) * (second - first))

    def __post_init__(self) -> None:
        times = (self.base_ms, self.sample_ms, self.longest_ms, *self.batch_ms)
        if min(times) < 0 or not 0 <= self.jitter < 1:
            raise ConfigError(f"service times {quoted(self)} must not be negative, jitter below 1")


@dataclass(frozen=True)
class NetrunConfig(Config):
    """One instance.

    `artifact` is what `engine` executes (empty for `null` and `sim`). `report` is the JSON file
    that tells launch, once the instance is ready, how it runs. A batch has at most `batch_size`
    samples and, where these differ in work, `batch_cost` of it, in mean samples. `warmup_s` is how
    long its rate is measured. `spin_us` is how long it looks for a batch before it sleeps: 0 where
    other instances need its processors. `memory_node` is recorded; the binding itself is made at
    the start.
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
    batch_cost: float | None = None
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
