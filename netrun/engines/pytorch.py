"""The `pytorch` engine: networks in eager PyTorch, int8 through PyTorch's quantised operators.

fp32 and bf16 run the model's own network in channels-last order, batch norms folded. int8 runs the
same program as the `onednn` engine, one operation after the other, on ``torch.ops.onednn``: slower,
because every call allocates and looks its kernel up, but it needs nothing beside PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

import models
from models import artifact
from models.program import KIND as PROGRAM
from models.program import Convolution, Linear, MaxPool, Operation, Program, from_description
from netrun.engines import Answer, EngineError

if TYPE_CHECKING:
    from models.model import Model
    from netrun.config import NetrunConfig

NETWORK = "network"
STORED = {"u8": torch.uint8, "s8": torch.int8, "f32": torch.float32}
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
        try:
            if config.precision == "int8":
                self._forward = quantised_forward(artifact.read(path, PROGRAM))
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


def quantised_forward(saved: artifact.Artifact) -> Forward:
    """A function from samples (uint8 NHWC) to the outputs of a saved program.

    Raises ValueError for an operation that PyTorch's operators do not offer.
    """
    program = from_description(saved.facts["program"], saved.arrays)
    steps = [_step(program, operation) for operation in program.operations]

    def forward(samples: NDArray[np.uint8]) -> Tensor:
        values = {program.input: torch.from_numpy(samples).permute(0, 3, 1, 2)}
        for operation, step in zip(program.operations, steps, strict=True):
            values[operation.output] = step(values)
        return values[program.output]

    return forward


def _step(program: Program, operation: Operation) -> Callable[[dict[str, Tensor]], Tensor]:
    if isinstance(operation, Convolution):
        return _convolution(program, operation)
    if isinstance(operation, Linear):
        return _linear(program, operation)
    return _max_pool(operation)


def _convolution(program: Program, operation: Convolution) -> Callable[[dict[str, Tensor]], Tensor]:
    source, target = program.tensors[operation.source], program.tensors[operation.output]
    scales = torch.from_numpy(np.array(program.constants[f"{operation.name}.scales"]))
    bias = torch.from_numpy(np.array(program.constants[f"{operation.name}.bias"]))
    weight = torch.from_numpy(np.array(program.constants[f"{operation.name}.weight"]))
    top, bottom, left, right = operation.padding
    symmetric = top == bottom and left == right
    geometry = (
        list(operation.stride),
        [top, left] if symmetric else [0, 0],
        [1, 1],
        operation.groups,
    )
    packed = torch.ops.onednn.qconv_prepack(weight, scales, source.scale, 0, *geometry, None)
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    attribute = "none" if operation.clamp is None else "relu"
    # Storing as uint8 saturates at 255: ReLU6 needs a clamp only where 6 lies below that.
    if operation.clamp is not None and operation.clamp / target.scale < 255:
        attribute = "hardtanh"
    scalars: list[float] = [0.0, operation.clamp or 0.0] if attribute == "hardtanh" else []
    if operation.residual is not None and attribute == "hardtanh":
        raise ValueError(f"{operation.name}: a clamp after an addition is not supported")
    stored = STORED[target.dtype]

    def run(values: dict[str, Tensor]) -> Tensor:
        x = values[operation.source]
        if not symmetric:
            x = F.pad(x, (left, right, top, bottom)).contiguous(memory_format=torch.channels_last)
        inputs = (x, source.scale, 0, packed, scales, zeros)
        if operation.residual is None:
            return torch.ops.onednn.qconv2d_pointwise(
                *inputs, bias, *geometry, target.scale, 0, stored, attribute, scalars, ""
            )
        residual = program.tensors[operation.residual]
        other = values[operation.residual]
        # The operator adds tensors of one type: a residual of another is added as real values.
        summed = torch.ops.onednn.qconv2d_pointwise(
            *inputs, bias, *geometry, 1.0, 0, torch.float32, "none", [], ""
        ).add_(other, alpha=residual.scale)
        if attribute == "relu":
            summed.relu_()
        low, high = (0, 255) if target.dtype == "u8" else (-127, 127)
        return summed.div_(target.scale).round_().clamp_(low, high).to(stored)

    return run


def _linear(program: Program, operation: Linear) -> Callable[[dict[str, Tensor]], Tensor]:
    source = program.tensors[operation.source]
    weight = torch.from_numpy(np.array(program.constants[f"{operation.name}.weight"]))
    scales = torch.from_numpy(np.array(program.constants[f"{operation.name}.scales"]))
    bias = torch.from_numpy(np.array(program.constants[f"{operation.name}.bias"]))
    packed = torch.ops.onednn.qlinear_prepack(weight, None)
    zeros = torch.zeros(len(scales), dtype=torch.int64)

    def run(values: dict[str, Tensor]) -> Tensor:
        flat = values[operation.source].flatten(1)
        inputs = (flat, source.scale, 0, packed, scales, zeros, bias)
        return torch.ops.onednn.qlinear_pointwise(*inputs, 1.0, 0, torch.float32, "none", [], "")

    return run


def _max_pool(operation: MaxPool) -> Callable[[dict[str, Tensor]], Tensor]:
    top, bottom, left, right = operation.padding
    symmetric = (top, left) == (bottom, right)

    def run(values: dict[str, Tensor]) -> Tensor:
        # PyTorch's uint8 kernel refuses sizes above 255; float32 holds every uint8 exactly.
        source = values[operation.source]
        floats = source.float()
        if not symmetric:
            floats = F.pad(floats, (left, right, top, bottom), value=-math.inf)
        padding = (top, left) if symmetric else 0
        pooled = F.max_pool2d(floats, operation.kernel, operation.stride, padding)
        return pooled.to(source.dtype)

    return run
