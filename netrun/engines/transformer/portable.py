"""An int8 encoder through PyTorch's oneDNN operators, for processors without AMX.

It computes what the kernels for AMX compute, from the same artifact: linear layers in int8, all
else in float32. PyTorch lays weights out for itself, so that every instance has a copy of its own.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.streams import Stream
from netrun.engines.pytorch.linear import Layer, linear
from netrun.engines.transformer.executor import Arrays, Shape


class PortableEncoder:
    """An encoder with its head, from the arrays of an artifact."""

    def __init__(self, arrays: Arrays, shape: Shape, threads: int) -> None:
        """Take the weights over into PyTorch's layout."""
        torch.set_num_threads(threads)
        self._shape = shape
        self._arrays = {
            name: torch.from_numpy(np.array(array, np.float32))
            for name, array in arrays.items()
            if name.startswith(("embedding.", "head.")) and "norm" not in name
        }
        names = ["embedding.norm"]
        self._linear: dict[str, Layer] = {}
        self._gelu: dict[int, Tensor] = {}
        for number in range(shape.layers):
            names += [f"{number}.attention.norm", f"{number}.output.norm"]
            for part, layer in (
                ("qkv", shape.qkv),
                ("attention", shape.joins),
                ("inner", shape.widens),
                ("output", shape.narrows),
            ):
                name = f"{number}.{part}"
                factors = layer.unpack_factors(arrays[f"{name}.factors"])
                weight = layer.unpack(arrays[f"{name}.weight"])
                self._linear[name] = linear(weight, factors[0], factors[1])
                if layer.kind == "gelu":
                    self._gelu[number] = torch.from_numpy(np.stack(factors[2:]))
        self._norms = {
            name: torch.from_numpy(shape.normalise.unpack(arrays[name])) for name in names
        }

    def run(
        self, ids: NDArray[np.int32], positions: NDArray[np.int32], types: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Logits of each token, as `Executor.run`."""
        with torch.inference_mode():
            stream = Stream(torch.from_numpy(positions), torch.from_numpy(types))
            logits: NDArray[np.float32] = self._logits(torch.from_numpy(ids), stream).numpy()
        return logits

    def _logits(self, ids: Tensor, stream: Stream) -> Tensor:
        tables = self._arrays
        hidden = tables["embedding.words"][ids] + tables["embedding.positions"][stream.positions]
        hidden, narrow = self._norm(
            "embedding.norm", hidden + tables["embedding.types"][stream.types]
        )
        for number in range(self._shape.layers):
            seen = self._attention(self._linear[f"{number}.qkv"](narrow), stream)
            joined = self._linear[f"{number}.attention"](_stored(seen)) + hidden
            hidden, narrow = self._norm(f"{number}.attention.norm", joined)
            gain, shift = self._gelu[number]
            inner = F.gelu(self._linear[f"{number}.inner"](narrow)) * gain + shift
            joined = self._linear[f"{number}.output"](_stored(inner)) + hidden
            hidden, narrow = self._norm(f"{number}.output.norm", joined)
        return hidden @ tables["head.weight"].T + tables["head.bias"]

    def _norm(self, name: str, values: Tensor) -> tuple[Tensor, Tensor]:
        gamma, beta, gain, shift = self._norms[name]
        normal = F.layer_norm(values, (self._shape.hidden,), eps=self._shape.eps)
        return normal * gamma + beta, _stored(normal * gain + shift)

    def _attention(self, qkv: Tensor, stream: Stream) -> Tensor:
        seen = qkv.new_empty(len(qkv), self._shape.hidden)
        for first, count, size in stream.runs:
            here = slice(first, first + count * size)
            q, k, v = (
                qkv[here]
                .view(count, size, 3, self._shape.heads, -1)
                .permute(2, 0, 3, 1, 4)
                .unbind()
            )
            # Queries have log2(e) in them, for powers of two.
            out = F.scaled_dot_product_attention(q, k, v, scale=math.log(2))
            seen[here] = out.transpose(1, 2).reshape(count * size, -1)
        return seen


def _stored(values: Tensor) -> Tensor:
    return torch.round(values).clamp_(-128, 127).to(torch.int8)
