"""The `pytorch` engine: networks in eager PyTorch, int8 through PyTorch's quantised operators.

fp32 and bf16 run any part as its task wrote it. int8 runs the same programs as the `onednn` engine,
one operation after the other (`quantised`): slower, but it needs nothing beside PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from models import artifact
from models.gated import Gated
from models.program import KIND as PROGRAM
from models.program import from_description
from netrun.engines import EngineError
from netrun.engines.pytorch.network import load
from netrun.engines.pytorch.quantised import QuantisedNetwork
from netrun.engines.pytorch.stored import KIND
from netrun.engines.rows import Given, stacked, zeros

if TYPE_CHECKING:
    from models.task import Array, Field, Part, Run
    from netrun.engines.engine import EngineSpec

Forward = Callable[..., Any]


class PyTorchEngine:
    """Executes saved networks (fp32, bf16) or programs (int8) with PyTorch."""

    def __init__(self, spec: EngineSpec) -> None:
        torch.set_num_threads(spec.threads)
        try:
            self._runs = {part.name: self._run(spec, part) for part in spec.task.parts}
        except artifact.ArtifactError as error:
            raise EngineError(f"{error}; start again, and it is built anew") from None
        except (KeyError, ValueError, RuntimeError) as error:
            raise EngineError(str(error).splitlines()[0]) from None

    def part(self, name: str) -> Run:
        """What runs a part."""
        return self._runs[name]

    def describe(self) -> dict[str, Any]:
        """PyTorch's version."""
        return {"torch": torch.__version__}

    def _run(self, spec: EngineSpec, part: Part) -> Run:
        forward, low = _forward(spec, part), spec.precision == "bf16"

        def run(**inputs: Given) -> Mapping[str, Array]:
            tensors = [_tensor(array) for array in stacked(part, inputs)]
            with torch.inference_mode(), _bf16() if low else nullcontext():
                return outputs_of(part, forward(*tensors))

        if all(field.fixed for field in part.inputs):
            for rows in {1, spec.batch_size}:
                run(**zeros(part, rows))
        return run


def _forward(spec: EngineSpec, part: Part) -> Forward:
    path = spec.file(part)
    if spec.precision == "int8":
        saved = artifact.read(path, PROGRAM)
        program = from_description(saved.facts["program"], saved.arrays)
        quantised = QuantisedNetwork(program, spec.batch_size)
        return lambda samples: quantised(samples.numpy())
    saved = artifact.read(path, KIND)
    network: Forward = load(partial(spec.task.skeleton, part.name, saved.facts["sizes"]), saved)
    return network


def _tensor(array: Array) -> Tensor:
    # A network may write over what it is given: the samples are read by others.
    return torch.from_numpy(array if array.flags.owndata else array.copy())


def outputs_of(part: Part, outputs: Any) -> dict[str, Array]:
    """What a module returned (a tensor, several in order, or by name) as a part's outputs."""
    if isinstance(outputs, Mapping):
        outputs = [outputs[field.name] for field in part.outputs]
    elif isinstance(outputs, Tensor):
        outputs = [outputs]
    return {
        field.name: _array(field, tensor)
        for field, tensor in zip(part.outputs, outputs, strict=True)
    }


def _array(field: Field, tensor: Tensor) -> Array:
    """The output; steps above a threshold stay what they are."""
    array: Array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    if isinstance(field, Gated) and tensor.dtype == torch.uint8:
        return array
    return array.astype(field.dtype, copy=False)


def _bf16() -> Any:
    return torch.autocast("cpu", torch.bfloat16)
