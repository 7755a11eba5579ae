"""The `onednn` and `pytorch` engines' int8 for parts that are networks over volumes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from models import volume_program
from models.artifact import ArtifactError
from netrun.engines import EngineError
from netrun.engines.onednn.library import OneDNNError
from netrun.engines.rows import Given, check_names
from netrun.engines.volumes.network import VolumeNetwork

if TYPE_CHECKING:
    from models.task import Array, Part, Run
    from netrun.engines.engine import EngineSpec


class VolumeEngine:
    """Runs windows one after the other, each on all threads.

    PyTorch has no int8 convolution in three dimensions, so there is no `portable` way.
    """

    def __init__(self, spec: EngineSpec, portable: bool = False) -> None:
        """Map the programs; raises EngineError where they do not fit, or oneDNN is not there."""
        try:
            self._networks = {
                part.name: VolumeNetwork(volume_program.load(spec.file(part))[0], spec.threads)
                for part in spec.task.parts
            }
        except ArtifactError as error:
            raise EngineError(f"{error}; start again, and it is built anew") from None
        except OneDNNError as error:
            raise EngineError(f"int8 of volumes: {error}; or choose --precision bf16") from None
        self._runs = {part.name: _run(self._networks[part.name], part) for part in spec.task.parts}

    def part(self, name: str) -> Run:
        """What runs a part."""
        return self._runs[name]

    def describe(self) -> dict[str, Any]:
        """OneDNN's version; kernels and megabytes by the size of windows."""
        first, *_ = self._networks.values()
        return first.describe()


def _run(network: VolumeNetwork, part: Part) -> Run:
    (source,), (output,) = part.inputs, part.outputs

    def run(**inputs: Given) -> Mapping[str, Array]:
        check_names(part, inputs)
        rows = inputs[source.name]
        if len(rows) == 1:
            found = network(rows[0])[None]
        else:
            found = np.stack([network(row).copy() for row in rows])
        return {output.name: found.astype(output.dtype, copy=False)}

    return run
