"""Whether kernels of our own for AMX run here, whatever they compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netrun.engines.amx.routine import Layer


def has_tiles(kernels: Layer) -> bool:
    """Whether the processor has tiles, and they suit the kernels' sizes.

    oneDNN says what the processor has and ONEDNN_MAX_CPU_ISA allows: without it there are none.
    """
    from netrun.engines.amx import supported
    from netrun.engines.onednn.library import OneDNNError, load

    try:
        return supported(load().isa, kernels)
    except OneDNNError:
        return False
