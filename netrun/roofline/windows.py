"""The kernels of a window of a volume, and the time that each takes inside real passes."""

from __future__ import annotations

import time

import numpy as np

from models.samples import Prepared
from models.volumes.windows import cut
from netrun.engines.volumes.network import VolumeNetwork
from netrun.roofline.measurement import Layer


class WindowPasses:
    """Times of many passes of one window, the first of the first volume."""

    def __init__(self, network: VolumeNetwork, samples: Prepared) -> None:
        self._network = network
        volume = samples[0][samples.fields[0].name]
        self._window = np.ascontiguousarray(cut(volume, (0, 0, 0)))
        self._steps: list[list[int]] = []
        self._wholes: list[int] = []

    def warm(self) -> None:
        """One pass that does not count: other work has been through the caches."""
        self._network(self._window)

    def measure(self) -> None:
        """One pass kernel by kernel and one as a whole."""
        began = time.perf_counter_ns()
        self._network(self._window)
        self._wholes.append(time.perf_counter_ns() - began)
        self._steps.append(self._network.profile(self._window))

    def __len__(self) -> int:
        return len(self._wholes)

    def whole_ns(self) -> float:
        """The median of whole passes."""
        return float(np.median(self._wholes))

    def layers(self) -> tuple[Layer, ...]:
        """Each kernel, with its median time."""
        medians = np.median(np.array(self._steps), axis=0)
        return tuple(
            Layer(
                name=step.name,
                source=step.source,
                output=step.output,
                kernel=step.kernel,
                macs=step.macs,
                bytes=step.bytes,
                seconds=max(float(ns), 1.0) / 1e9,
            )
            for step, ns in zip(self._network.steps(self._window), medians, strict=True)
        )

    def macs_with_padding(self) -> int:
        """The work of a window as networks are usually compared."""
        depth, height, width = self._window.shape[1:]
        return sum(self._network.program.macs((depth, height, width)).values())
