"""The kernels of a window of a volume, and the time that each takes inside real passes."""

from __future__ import annotations

import numpy as np

from models.task import Array
from netrun.engines.volumes.network import VolumeNetwork
from netrun.roofline.measurement import Layer
from netrun.roofline.passes import KernelPasses


class WindowPasses(KernelPasses):
    """Times of many passes of one window [channels, D, H, W]."""

    def __init__(self, network: VolumeNetwork, window: Array) -> None:
        super().__init__(network, network.profile)
        self._network = network
        self._window = np.ascontiguousarray(window)

    def given(self) -> tuple[Array]:
        """The window."""
        return (self._window,)

    def layers(self) -> tuple[Layer, ...]:
        """Each kernel, with its median time."""
        return tuple(
            Layer(
                name=step.name,
                source=step.source,
                output=step.output,
                kernel=step.kernel,
                macs=step.macs,
                bytes=step.bytes,
                seconds=self.seconds(number),
            )
            for number, step in enumerate(self._network.steps(self._window))
        )

    def macs_with_padding(self) -> int:
        """The work of a window as networks are usually compared."""
        depth, height, width = self._window.shape[1:]
        return sum(self._network.program.macs((depth, height, width)).values())
