"""From a ranking network in float32 to int8: linear layers, tables, and what lies between them.

A layer's input is stored in 8 bits (unsigned behind a ReLU, else signed), by one scale that the
calibration pairs give; weights are int8 by one scale for each output. The bottom network's output
is int8 of the range of its own, because it is multiplied with rows of tables, which are int8 by
one scale a table. What enters the top network of v1 has two scales, its own for the bottom
network's part and one for the products: its weights take them in. The last layer stays float32.

Cross layers (v2) multiply what they are given with itself: tails grow from layer to layer, and 8
bits by one scale leave 20 to 28 dB of them. So what reads such values stays bfloat16: the narrow
half of each cross layer and the top network's first one; and the bottom network, a hundredth of the
work, whose outputs are their largest. The wide halves and the rest of the top network are int8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.ranking import SIGNED, UNSIGNED, Stored, bfloat16

if TYPE_CHECKING:
    from models.criteo.network import DLRM

VERSION = 2
"""Raised when the same network and pairs would give other values."""
MOST_PAIRS = 16_384
"""Pairs that ranges are taken from, evenly from all."""
_LOW = ("bot_l.", "cross.narrow.", "top_l.0")
"""Layers of v2 that stay bfloat16."""
_CUTS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
"""Parts of the largest value that are tried as the end of the range."""


@dataclass(frozen=True)
class Ranking:
    """An int8 network: `arrays` by name, and how the inputs of layers are `stored`.

    Of a layer `top_l.0` there are `top_l.0.weight` int8 [out, in], `.scales` float32 [out] and,
    where it has one, `.bias`. A layer in bfloat16 has its weight as uint16, no scales, and nothing
    `stored`. `stored` also names `x`, the bottom network's output, and `dots`, the products of v1.
    """

    arrays: dict[str, NDArray[Any]]
    stored: dict[str, Stored]

    def facts(self) -> dict[str, Any]:
        """What is no array, in JSON values."""
        return {name: asdict(one) for name, one in self.stored.items()}


def quantise(network: DLRM, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> Ranking:
    """The int8 network, but its tables, calibrated on pairs."""
    chosen = np.linspace(0, len(dense) - 1, min(len(dense), MOST_PAIRS)).astype(np.int64)
    given = _inputs(network, torch.from_numpy(dense[chosen]), torch.from_numpy(sparse[chosen]))
    stored, arrays = {}, {}
    width = network.shape.width
    layers = dict(linears(network))
    mixed = f"top_l.{0}" if network.cross is None else ""
    last = list(layers)[-1]
    for name, layer in layers.items():
        weight, values = layer.weight.detach(), given[name]
        if layer.bias is not None:
            arrays[f"{name}.bias"] = layer.bias.detach().numpy().astype(np.float32)
        if network.cross is not None and name.startswith(_LOW):
            arrays[f"{name}.weight"] = bfloat16(weight.numpy())
            continue
        if name == mixed:
            stored["x"] = best(values[:, :width], True)
            stored["dots"] = best(values[:, width:], True)
            factors = torch.full((weight.shape[1],), stored["dots"].scale)
            factors[:width] = stored["x"].scale
            weight, stored[name] = weight * factors, Stored(1.0, True)
        else:
            stored[name] = best(values, bool((values < 0).any()))
        if name == last:
            arrays[f"{name}.weight"] = weight.numpy().astype(np.float32)
            continue
        scales = weight.abs().amax(1).clamp_min(1e-12) / SIGNED
        arrays[f"{name}.weight"] = torch.round(weight / scales[:, None]).to(torch.int8).numpy()
        arrays[f"{name}.scales"] = scales.numpy()
    return Ranking(arrays, stored)


def linears(network: DLRM) -> Iterator[tuple[str, nn.Linear]]:
    """The linear layers in the order in which they run."""
    for part in ("bot_l", "cross", "top_l"):
        module = getattr(network, part)
        named = [] if module is None else list(module.named_modules())
        found = [(f"{part}.{name}", each) for name, each in named if isinstance(each, nn.Linear)]
        if part == "cross":
            found.sort(key=lambda one: (one[0].split(".")[2], one[0].split(".")[1] == "wide"))
        yield from found


def best(values: Tensor, signed: bool) -> Stored:
    """The scale that loses least of these values, by the mean square."""
    levels, largest = (SIGNED if signed else UNSIGNED), float(values.abs().max())
    if largest == 0:
        return Stored(1.0, signed)
    flat = values.reshape(-1)[:: max(1, values.numel() >> 20)]

    def loss(scale: float) -> float:
        kept = torch.round(flat / scale).clamp_(-levels if signed else 0, levels) * scale
        return float((kept - flat).square().mean())

    return Stored(min((cut * largest / levels for cut in _CUTS), key=loss), signed)


def _inputs(network: DLRM, dense: Tensor, sparse: Tensor) -> Mapping[str, Tensor]:
    """What each linear layer is given."""
    found: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        return lambda module, inputs: found.__setitem__(name, inputs[0].detach().float())

    hooks = [layer.register_forward_pre_hook(note(name)) for name, layer in linears(network)]
    try:
        with torch.inference_mode():
            network(dense, sparse)
    finally:
        for hook in hooks:
            hook.remove()
    return found
