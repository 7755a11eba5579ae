"""The `pytorch` engine: networks in eager PyTorch, int8 through PyTorch's quantised operators.

fp32 and bf16 run the model's own network in channels-last order, batch norms folded. int8 runs the
same program as the `onednn` engine, one operation after the other (`quantised`): slower, but it
needs nothing beside PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

import models
from models import artifact
from models.program import KIND as PROGRAM
from models.program import from_description
from netrun.engines import Answer, EngineError
from netrun.engines.pytorch.quantised import QuantisedNetwork

if TYPE_CHECKING:
    from models.model import Model
    from netrun.config import NetrunConfig

NETWORK = "network"
Forward = Callable[[NDArray[np.uint8]], Tensor]


def save_network(network: nn.Module, path: Path, facts: Mapping[str, Any]) -> None:
    """Write the fp32 parameters of `network`, batch norms folded, as an artifact."""
    state = fuse(network.eval()).state_dict()
    artifact.write(path, NETWORK, facts, {name: t.float().numpy() for name, t in state.items()})


class PyTorchEngine:
    """Executes a saved network (fp32, bf16) or a program (int8) with PyTorch."""

    def __init__(self, config: NetrunConfig) -> None:
        torch.set_num_threads(config.threads)
        self._model = models.get(config.model)
        self._batch_size = config.batch_size
        path = Path(config.artifact)
        self._forward: Forward
        try:
            if config.precision == "int8":
                saved = artifact.read(path, PROGRAM)
                program = from_description(saved.facts["program"], saved.arrays)
                self._forward = QuantisedNetwork(program, config.batch_size)
            else:
                dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
                self._forward = _floating(self._model, artifact.read(path, NETWORK), dtype)
        except artifact.ArtifactError as error:
            raise EngineError(f"{error}; start again, and it is built anew") from None
        except (KeyError, ValueError, RuntimeError) as error:
            raise EngineError(str(error).splitlines()[0]) from None

    def prepare(self) -> None:
        """Run the smallest and the largest batch once."""
        for batch in {1, self._batch_size}:
            self.infer(np.zeros((batch, *self._model.sample.shape), np.uint8), range(batch))

    def infer(self, samples: NDArray[np.uint8], positions: Sequence[int]) -> Answer:
        """Run the network on ``samples[positions]`` and postprocess its outputs."""
        with torch.inference_mode():
            logits = self._forward(samples[list(positions)])
        return Answer(*self._model.postprocess(logits.float().numpy()))

    def describe(self) -> dict[str, Any]:
        """PyTorch's version."""
        return {"torch": torch.__version__}


def _floating(model: Model, saved: artifact.Artifact, dtype: torch.dtype) -> Forward:
    network = fuse(model.network())
    # Copied: PyTorch cannot hold read-only memory, and kernels want channels-last weights anyway.
    state = {name: torch.from_numpy(np.array(array)) for name, array in saved.arrays.items()}
    network.load_state_dict(state, strict=True, assign=True)
    network = network.eval().to(dtype=dtype, memory_format=torch.channels_last)

    def forward(samples: NDArray[np.uint8]) -> Tensor:
        batch = torch.from_numpy(model.sample.normalise(samples))
        result = network(batch.to(dtype=dtype, memory_format=torch.channels_last))
        assert isinstance(result, Tensor)
        return result

    return forward
