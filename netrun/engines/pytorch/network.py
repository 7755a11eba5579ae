"""Networks whose parameters are a mapped file: stored once, the same pages in every instance.

Parameters are stored as they are used: batch norms folded, weights of convolutions channels last,
in bf16 those of matrix products and convolutions. An instance makes the network without values and
lets its parameters view the file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from models import artifact
from netrun.engines.pytorch.stored import KIND

if TYPE_CHECKING:
    from models.artifact import Artifact

LOW = (
    nn.Linear,
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
"""Modules that compute in bf16 where that is asked for."""
RANDOM = {"uniform_", "normal_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_",
          "xavier_uniform_", "xavier_normal_", "orthogonal_"}  # fmt: skip


def save(module: nn.Module, precision: str, path: Path, facts: Mapping[str, Any]) -> None:
    """Write the parameters and buffers of `module`, fp32, as an artifact for `precision`."""
    network = folded(module)
    low = names_in(network, LOW) if precision == "bf16" else set()
    last = names_in(network, (nn.Conv2d, nn.ConvTranspose2d))
    arrays, types, channels_last = {}, {}, []
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor = tensor.to(torch.bfloat16 if name in low else torch.float32)
        if name in last and tensor.dim() == 4:
            tensor = tensor.permute(0, 2, 3, 1)
            channels_last.append(name)
        tensor = tensor.contiguous()
        if tensor.dtype == torch.bfloat16:
            types[name] = "bfloat16"
            tensor = tensor.view(torch.uint16)  # NumPy has no such type
        arrays[name] = tensor.numpy()
    stored = {**facts, "types": types, "channels_last": channels_last}
    artifact.write(path, KIND, stored, arrays)


def load(make: Callable[[], nn.Module], stored: Artifact) -> nn.Module:
    """The network that `make` makes, with stored parameters that view the mapped file.

    Raises KeyError or RuntimeError where they are another network's.
    """
    with _Unfilled():
        network = make()
    # What is filled in later needs no memory now, and folding batch norms none either.
    shapes = {name: tensor.to("meta") for name, tensor in network.state_dict().items()}
    network.load_state_dict(shapes, assign=True)
    network = folded(network)
    with warnings.catch_warnings():
        # That arrays are read-only: nobody writes to parameters in inference.
        warnings.simplefilter("ignore")
        parameters = {name: _tensor(name, stored) for name in stored.arrays}
    network.load_state_dict(parameters, strict=True, assign=True)
    return network.requires_grad_(False)


def folded(module: nn.Module) -> nn.Module:
    """The module in evaluation mode, batch norms folded where it can be traced."""
    module = module.eval()
    if not any(isinstance(each, _BatchNorm) for each in module.modules()):
        return module
    try:
        return fuse(module)  # type: ignore[no-any-return]
    except Exception:
        # Control flow that depends on values, whatever that raises: it runs as it is written.
        return module


def names_in(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> set[str]:
    """Names of the parameters that belong to modules of these kinds."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in network.named_modules()
        if isinstance(module, kinds)
        for name, _ in module.named_parameters(recurse=False)
    }


def _tensor(name: str, stored: Artifact) -> Tensor:
    tensor = torch.from_numpy(stored.arrays[name])
    if stored.facts["types"].get(name) == "bfloat16":
        tensor = tensor.view(torch.bfloat16)
    return tensor.permute(0, 3, 1, 2) if name in stored.facts["channels_last"] else tensor


class _Unfilled(TorchFunctionMode):  # type: ignore[misc]
    """Leaves out random initial values: large networks take seconds and gigabytes for them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in RANDOM:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
