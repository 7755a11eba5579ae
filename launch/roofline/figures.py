"""The roofline model: what a machine's peak and memory allow a layer, and what it reaches.

Williams, Waterman, Patterson, "Roofline: An Insightful Visual Performance Model for Multicore
Architectures", Communications of the ACM 52(4), 2009; with multiply-accumulates instead of
floating-point operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netrun.roofline.measurement import Layer, Measurement


@dataclass(frozen=True)
class Roofline:
    """The layers of a program and the machine's limits.

    `peak` is in multiply-accumulates a second, `bandwidth` in bytes a second; `whole_s` the median
    time of a whole batch, with everything between the kernels.
    """

    layers: tuple[Layer, ...]
    peak: float
    bandwidth: float
    batch_size: int
    whole_s: float
    unit: str = "samples"
    """What a batch is of."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a batch."""
        return sum(layer.macs for layer in self.layers)

    @property
    def kernels_s(self) -> float:
        """Time of all kernels of a batch together."""
        return sum(layer.seconds for layer in self.layers)

    @property
    def limit_s(self) -> float:
        """The least time that the limits allow the layers one after the other."""
        return sum(self.limit_of(layer) for layer in self.layers)

    @property
    def kernels_share(self) -> float:
        """Kernels' part of a whole batch's time."""
        return self.kernels_s / self.whole_s

    @property
    def samples_per_s(self) -> float:
        """What a whole batch's time amounts to."""
        return self.batch_size / self.whole_s

    @property
    def peak_samples_per_s(self) -> float:
        """What the peak alone would allow."""
        return self.batch_size * self.peak / self.macs

    @property
    def limit_samples_per_s(self) -> float:
        """What peak and memory together would allow."""
        return self.batch_size / self.limit_s

    @property
    def share_of_peak(self) -> float:
        """The whole batch's rate in parts of the peak."""
        return self.macs / self.whole_s / self.peak

    def in_words(self, rate: float) -> str:
        """A rate with its unit, for people."""
        return f"{rate:.1f} {self.unit}/s" if rate >= 10 else f"{rate:.3g} {self.unit}/s"

    def bound(self, layer: Layer) -> float:
        """The rate that peak and memory allow a layer of its intensity."""
        return min(self.peak, self.bandwidth * layer.intensity)

    def limit_of(self, layer: Layer) -> float:
        """The least time that the limits allow a layer, in seconds; also where it has no MACs."""
        return max(layer.macs / self.peak, layer.bytes / self.bandwidth)

    def share_of_bound(self, layer: Layer) -> float:
        """The least time in parts of the measured one; above 1 where caches serve the bytes."""
        return self.limit_of(layer) / layer.seconds

    def as_json(self) -> dict[str, Any]:
        """Totals and layers as JSON values, in SI units without prefixes."""
        return {
            "batch_size": self.batch_size,
            "peak_macs_per_s": self.peak,
            "bandwidth_bytes_per_s": self.bandwidth,
            "total": {
                "macs": self.macs,
                "whole_s": self.whole_s,
                "kernels_s": self.kernels_s,
                "kernels_share": self.kernels_share,
                "limit_s": self.limit_s,
                "samples_per_s": self.samples_per_s,
                "peak_samples_per_s": self.peak_samples_per_s,
                "limit_samples_per_s": self.limit_samples_per_s,
                "share_of_peak": self.share_of_peak,
            },
            "layers": [
                {
                    "name": layer.name,
                    "source": list(layer.source),
                    "output": list(layer.output),
                    "kernel": layer.kernel,
                    "macs": layer.macs,
                    "bytes": layer.bytes,
                    "macs_per_byte": layer.intensity,
                    "seconds": layer.seconds,
                    "macs_per_s": layer.rate,
                    "share_of_time": layer.seconds / self.kernels_s,
                    "share_of_peak": layer.rate / self.peak,
                    "bound_macs_per_s": self.bound(layer),
                    "share_of_bound": self.share_of_bound(layer),
                }
                for layer in self.layers
            ],
        }


def from_measurement(measured: Measurement, batch_size: int, unit: str = "samples") -> Roofline:
    """The roofline of what ``netrun.roofline`` found: best probe, better way to use the memory."""
    limits = measured.limits
    return Roofline(
        layers=measured.layers,
        peak=max(probe.macs_per_s for probe in limits.probes),
        bandwidth=max(limits.read_bytes_per_s, limits.copy_bytes_per_s),
        batch_size=batch_size,
        whole_s=measured.whole_s,
        unit=unit,
    )
