"""How long an instance takes for a batch of each size: a shape, and a scale that is learned.

The shape comes from the compiled artifact, where each size was measured; without one, time is taken
as proportional to the samples. Tests differ from the measurement by a factor (other instances share
memory, the processor's clock), which is a moving average over about 16 batches.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from loadrun.dispatch.pending import Amount

_MEMORY = 16
_LINE_MEMORY = 64
_ALIKE = 1e-3
"""Square of the relative spread of batches' work from which on a line is drawn through them."""


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

    def learn(self, samples: Amount, service_ns: int) -> None:
        """Note that a batch of `samples` took `service_ns`."""
        seen = service_ns / self._shape[samples - 1]
        self.scale_ns += (seen - self.scale_ns) / _MEMORY if self.scale_ns else seen

    def of(self, samples: Amount) -> float:
        """The mean time of a batch; 0 while nothing is known."""
        time_ns: float = self.scale_ns * self._shape[samples - 1]
        return time_ns

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


class WorkTimes:
    """Times of batches by their work, the sum of their samples' costs in mean samples; ns.

    A batch has a work of `most` at most. `measured_ms` are the times of a work of 1, 2, ... as
    measured beforehand: a shape whose scale is learned, as in `ServiceTimes`. Without, a batch is
    taken to need some time whatever its work, and more in proportion to it; least squares over
    about 64 batches tell how much.
    `scale_ns` is 0 while nothing is known.
    """

    def __init__(self, most: float, measured_ms: Sequence[float] = ()) -> None:
        self._most = most
        shape = [1e6 * ms for ms in measured_ms]
        self._measured = bool(shape) and min(shape) > 0
        shape = list(accumulate(shape, max)) if self._measured else [1.0]
        # Less than one mean sample goes on as the first two sizes do, but never below nothing.
        step = shape[1] - shape[0] if len(shape) > 1 else shape[0]
        self._shape = [max(0.0, shape[0] - step), *shape]
        self.scale_ns = 1.0 if self._measured else 0.0
        self._sums = [0.0] * 5  # of 1, work, ns, work squared, work times ns; the older the less

    def learn(self, work: float, service_ns: int) -> None:
        """Note that a batch of that work took `service_ns`."""
        expected = self.of(work)
        if self._measured and expected > 0:
            # What is short says little: it may be off by a multiple.
            seen = service_ns * self.scale_ns / expected
            self.scale_ns += (seen - self.scale_ns) / _MEMORY * min(1.0, work)
        if self._measured:
            return
        keep = 1 - 1 / _LINE_MEMORY
        row = (1.0, work, service_ns, work * work, work * service_ns)
        self._sums = count, works, times, squares, products = [
            keep * old + new for old, new in zip(self._sums, row, strict=True)
        ]
        spread = count * squares - works * works
        slope, base = (times / works, 0.0) if works else (0.0, times / count)
        # Where all batches are alike, nothing tells the two apart.
        if spread > _ALIKE * works * works:
            slope = min(slope, max(0.0, (count * products - works * times) / spread))
            base = (times - slope * works) / count
        self.scale_ns, self._shape = 1.0, [base, base + slope]

    def of(self, work: float) -> float:
        """The mean time of a batch; 0 while nothing is known."""
        shape = self._shape
        below = min(int(work), len(shape) - 2)
        return self.scale_ns * (shape[below] + (work - below) * (shape[below + 1] - shape[below]))

    def fitting(self, ns: float, margin: float) -> float:
        """How much work a batch may have to take `ns`, times `margin`; 0: none."""
        shape, wanted = self._shape, ns / (self.scale_ns * margin)
        below = min(bisect_right(shape, wanted), len(shape) - 1) - 1
        if below < 0:
            return 0.0
        step = shape[below + 1] - shape[below]
        return min(self._most, below + (wanted - shape[below]) / step) if step else self._most

    nearest = fitting
    """Any work is possible: what comes nearest to a time is what fits it."""
