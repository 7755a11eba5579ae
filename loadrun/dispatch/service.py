"""How long an instance takes for a batch of each size: a shape, and a scale that is learned.

The shape comes from the compiled artifact, where each size was measured; without one, time is taken
as proportional to the samples. Tests differ from the measurement by a factor (other instances share
memory, the processor's clock), which is a moving average over about 16 batches.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

_MEMORY = 16


class ServiceTimes:
    """Times of batches of 1 to `batch_size` samples, ns.

    `measured_ms` are those of 1, 2, ... samples as measured beforehand; none where nothing is known
    before the first batch. `scale_ns` is the factor between the shape and the time, 0 until known;
    without a measurement it is the time of a sample.
    """

    def __init__(self, batch_size: int, measured_ms: Sequence[float] = ()) -> None:
        shape = [1e6 * ms for ms in measured_ms[:batch_size]]
        known = len(shape) == batch_size and min(shape) > 0
        if not known:
            shape = [float(samples) for samples in range(1, batch_size + 1)]
        # More samples never take less time, but for the noise of measuring.
        self._shape = list(accumulate(shape, max))
        self.scale_ns = 1.0 if known else 0.0

    def learn(self, samples: int, service_ns: int) -> None:
        """Note that a batch of `samples` took `service_ns`."""
        seen = service_ns / self._shape[samples - 1]
        self.scale_ns += (seen - self.scale_ns) / _MEMORY if self.scale_ns else seen

    def of(self, samples: int) -> float:
        """The mean time of a batch; 0 while nothing is known."""
        return self.scale_ns * self._shape[samples - 1]

    def fitting(self, ns: float, margin: float) -> int:
        """How many samples at most a batch may have to take `ns`, times `margin`; 0: not one."""
        return bisect_right(self._shape, ns / (self.scale_ns * margin))

    def nearest(self, ns: float, margin: float) -> int:
        """How many samples a batch has that comes nearest to `ns`, times `margin`; at least 1."""
        shape, wanted = self._shape, ns / (self.scale_ns * margin)
        below = bisect_right(shape, wanted)
        if below in (0, len(shape)):
            return max(1, below)
        return below + (shape[below] - wanted < wanted - shape[below - 1])
