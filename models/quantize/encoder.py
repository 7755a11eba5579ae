"""A transformer encoder in int8: linear layers by static calibration, all else as it was.

Every input of a linear layer is stored as ``q = round(x / s + z)``, int8, with a scale `s` and a
zero `z` of its own for each channel. Neither costs anything: what makes the input (normalisation,
GELU, attention's values) has factors and offsets for its channels anyway, a channel's scale goes
into the weights that it meets, and what zeros add up to is a part of the bias. Channels that are
large beside others, as BERT has them, so need not make the others coarse.

A large channel's range is shared between its scale and the weights that it meets (Xiao et al.,
SmoothQuant, 2022, equation 4). All of it in the scale would be best for one layer's output, but
then weights are coarser, and unlike the rounding of tokens, which attention averages, that of
weights is the same for all: over a whole network, less of it is better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from models.quantize.rounding import feed_back
from models.streams import Stream

Arrays = dict[str, NDArray[Any]]
Progress = Callable[[int, int], None]
LARGEST = 127.0
SHARE = 0.8
"""Exponent of a channel's range in its scale; the rest is left to the weights that it meets."""
ROUNDED_ON = 4096
"""Tokens that weights are rounded for."""
_SMALLEST = 1e-6
_LOG2_E = 1.4426950408889634
VERSION = "1"
"""Of what this module makes of a network: part of every key that rests on it."""


@dataclass
class Seen:
    """What calibration saw of a linear layer's input: its channels' ranges and some tokens."""

    low: Tensor
    high: Tensor
    rows: list[Tensor]

    @classmethod
    def nothing(cls, channels: int) -> Seen:
        """Before the first batch."""
        return cls(torch.full((channels,), torch.inf), torch.full((channels,), -torch.inf), [])

    def add(self, values: Tensor, keep: int) -> None:
        """Note a batch [tokens, channels], and `keep` of its tokens."""
        self.low = torch.minimum(self.low, values.amin(0))
        self.high = torch.maximum(self.high, values.amax(0))
        step = max(1, len(values) // max(keep, 1))
        self.rows.append(values[::step][:keep].clone())

    def fixed(self, amax: float) -> Input:
        """The range of a file that was trained with it: one scale, zero in the middle."""
        scale = torch.full_like(self.low, amax / LARGEST)
        return Input(scale, torch.zeros_like(scale))


@dataclass(frozen=True)
class Input:
    """How a linear layer's input is stored: ``q = round(x / scale + zero)``."""

    scale: Tensor
    zero: Tensor

    def store(self, values: Tensor) -> Tensor:
        """Integers -128 to 127, as floats."""
        return torch.round(values / self.scale + self.zero).clamp(-128, 127)


@dataclass(frozen=True)
class Linear:
    """``output = q x weight^T * scales + bias``."""

    weight: Tensor
    """int8 values [out, in], as floats."""
    scales: Tensor
    bias: Tensor


def quantise_linear(
    weight: Tensor, bias: Tensor, given: Input, rows: Tensor | None = None
) -> Linear:
    """A layer for an input that is stored so.

    With `rows`, inputs [tokens, in] as they are before they are stored, weights are rounded so that
    the output errs least on them, else to the nearest integer.
    """
    scaled = weight * given.scale
    scales = scaled.abs().amax(1).clamp(min=_SMALLEST**2) / LARGEST
    exact = scaled / scales[:, None]
    if rows is None:
        return _linear(exact, torch.round(exact), scales, bias, given, given.zero)
    stored = given.store(rows)
    mean = stored.mean(0)
    stored -= mean
    rounded = feed_back(exact, stored.T @ stored / len(rows), None)
    return _linear(exact, rounded, scales, bias, given, mean)


def trained_linear(weight: Tensor, bias: Tensor, given: Input, amax: Sequence[float]) -> Linear:
    """A layer that was trained for int8; `amax` are the ranges of equal parts of its outputs."""
    parts = torch.tensor(amax).repeat_interleave(len(weight) // len(amax))
    scales = parts * given.scale[0] / LARGEST
    exact = weight * given.scale / scales[:, None]
    rounded = torch.round(exact).clamp(-LARGEST, LARGEST)
    return _linear(rounded, rounded, scales, bias, given, given.zero)


def _linear(
    exact: Tensor, rounded: Tensor, scales: Tensor, bias: Tensor, given: Input, mean: Tensor
) -> Linear:
    """A layer whose bias takes in the zeros, and what rounding does to the output of `mean`."""
    offset = exact @ (mean - given.zero) - rounded @ mean
    return Linear(rounded, scales, bias + scales * offset)


def input_of(seen: Seen, weight: Tensor) -> Input:
    """How to store a layer's input, so that the whole range of each channel is stored."""
    middle, half = (seen.high + seen.low) / 2, (seen.high - seen.low) / 2
    half = half.clamp(min=_SMALLEST)
    weights = weight.abs().amax(0).clamp(min=_SMALLEST)
    relative = half**SHARE / weights ** (1 - SHARE)
    scale = relative * ((half / relative).max() / LARGEST)
    return Input(scale, -middle / scale)


def quantise(
    network: torch.nn.Module,
    batches: Sequence[Mapping[str, Tensor]],
    ranges: Mapping[str, float],
    progress: Progress = lambda done, total: None,
) -> Arrays:
    """Arrays of an int8 encoder: see `ARRAYS` for their names and meaning.

    `network` is of the structure of `models.squad.network.QuestionAnswering`; `batches` are its
    inputs by name. `ranges` are those of a file that was trained for int8, else empty. Attention's
    queries get the factor log2(e) / sqrt(channels of a head), its values are in units of the next
    layer's input, so that weights are powers of two and outputs are rounded only.
    """
    # What bfloat16 leaves of activations is enough for their ranges, and of integers it is all.
    with torch.inference_mode(), _products("medium"):
        return _Quantiser(network, batches, ranges, progress).run()


@contextmanager
def _products(precision: str) -> Iterator[None]:
    """How PyTorch multiplies matrices of float32; "medium" is bfloat16 where that is fast."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


ARRAYS = """
embedding.words [pieces, hidden], embedding.positions, embedding.types: float16, added up;
<norm>.gamma, .beta, .gain, .shift: float32 of each channel: normal * gamma + beta goes on to the
    next residual addition, normal * gain + shift, rounded, to the next linear layer;
    norms are embedding.norm, N.attention.norm, N.output.norm;
<linear>.weight int8 [out, in], .scales, .bias: float32 of each output;
    linear layers are N.qkv, N.attention, N.inner, N.output;
N.inner.gain, .shift: gelu * gain + shift, rounded, is what N.output reads;
head.weight, head.bias: float32.
"""


class _Quantiser:
    def __init__(
        self,
        network: Any,
        batches: Sequence[Mapping[str, Tensor]],
        ranges: Mapping[str, float],
        progress: Progress,
    ) -> None:
        self._network, self._ranges, self._progress = network, ranges, progress
        self._streams = [Stream(b["positions"], b["types"]) for b in batches]
        self._ids = [batch["input_ids"] for batch in batches]
        self._keep = -(-ROUNDED_ON // len(batches))
        self._arrays: Arrays = {}

    def run(self) -> Arrays:
        embeddings, layers = self._network.bert.embeddings, self._network.bert.encoder.layer
        for name, table in (
            ("words", embeddings.word_embeddings),
            ("positions", embeddings.position_embeddings),
            ("types", embeddings.token_type_embeddings),
        ):
            self._arrays[f"embedding.{name}"] = table.weight.to(torch.float16).numpy()
        hidden = [
            embeddings(ids, stream) for ids, stream in zip(self._ids, self._streams, strict=True)
        ]
        norm, place = embeddings.LayerNorm, "embedding.norm"
        for number, layer in enumerate(layers):
            self._progress(number, len(layers))
            norm, place = self._layer(number, layer, hidden, norm, place)
        ones = torch.ones_like(norm.weight)
        self._normalisation(place, norm, Input(ones, torch.zeros_like(ones)))
        head = self._network.qa_outputs
        self._arrays["head.weight"] = head.weight.float().numpy()
        self._arrays["head.bias"] = head.bias.float().numpy()
        self._progress(len(layers), len(layers))
        return self._arrays

    def _layer(
        self, number: int, layer: Any, hidden: list[Tensor], norm: Any, place: str
    ) -> tuple[Any, str]:
        """Quantise a block; `hidden` becomes its output."""
        looks, joins = layer.attention.self, layer.attention.output
        seen = [Seen.nothing(len(norm.weight)) for _ in range(3)]
        seen.append(Seen.nothing(layer.intermediate.dense.out_features))
        for at, stream in enumerate(self._streams):
            seen[0].add(hidden[at], self._keep)
            context = looks(hidden[at], stream)
            seen[1].add(context, self._keep)
            attended = joins(context, hidden[at])
            seen[2].add(attended, self._keep)
            inner = layer.intermediate(attended)
            seen[3].add(inner, self._keep)
            hidden[at] = layer.output(inner, attended)
        names = [f"bert.encoder.layer.{number}.{part}" for part in (
            "attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense"
        )]  # fmt: skip
        parts = (looks.query, looks.key, looks.value)
        qkv = torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
        linear = [qkv] + [
            (part.weight, part.bias)
            for part in (joins.dense, layer.intermediate.dense, layer.output.dense)
        ]
        inputs = [
            self._input(name, one, weight)
            for name, one, (weight, _) in zip(names, seen, linear, strict=True)
        ]
        self._normalisation(place, norm, inputs[0])
        three = [
            f"bert.encoder.layer.{number}.attention.self.{p}" for p in ("query", "key", "value")
        ]
        quantised = self._quantised(three, qkv, inputs[0], seen[0])
        others = [
            self._quantised([name], one, given, each)
            for name, one, given, each in zip(
                names[1:], linear[1:], inputs[1:], seen[1:], strict=True
            )
        ]
        self._linear(f"{number}.qkv", _for_attention(quantised, inputs[1], looks.heads))
        self._linear(
            f"{number}.attention", self._quantised([names[1]], linear[1], inputs[1], seen[1])
        )
        self._normalisation(f"{number}.attention.norm", joins.LayerNorm, inputs[2])
        self._linear(f"{number}.inner", others[1])
        self._arrays[f"{number}.inner.gain"] = (1 / inputs[3].scale).numpy()
        self._arrays[f"{number}.inner.shift"] = inputs[3].zero.numpy()
        self._linear(f"{number}.output", others[2])
        return layer.output.LayerNorm, f"{number}.output.norm"

    def _input(self, name: str, seen: Seen, weight: Tensor) -> Input:
        amax = self._ranges.get(f"{name}._input_quantizer._amax")
        return input_of(seen, weight) if amax is None else seen.fixed(amax)

    def _weight_ranges(self, names: Sequence[str]) -> list[float] | None:
        found = [self._ranges.get(f"{name}._weight_quantizer._amax") for name in names]
        return None if None in found else [amax for amax in found if amax is not None]

    def _quantised(
        self, names: Sequence[str], linear: tuple[Tensor, Tensor], given: Input, seen: Seen
    ) -> Linear:
        amax = self._weight_ranges(names)
        if amax is not None:
            return trained_linear(*linear, given, amax)
        return quantise_linear(*linear, given, torch.cat(seen.rows))

    def _linear(self, name: str, linear: Linear) -> None:
        self._arrays[f"{name}.weight"] = linear.weight.to(torch.int8).numpy()
        self._arrays[f"{name}.scales"] = linear.scales.float().numpy()
        self._arrays[f"{name}.bias"] = linear.bias.float().numpy()

    def _normalisation(self, name: str, norm: Any, given: Input) -> None:
        self._arrays[f"{name}.gamma"] = norm.weight.float().numpy()
        self._arrays[f"{name}.beta"] = norm.bias.float().numpy()
        self._arrays[f"{name}.gain"] = (norm.weight / given.scale).float().numpy()
        self._arrays[f"{name}.shift"] = (norm.bias / given.scale + given.zero).float().numpy()


def _for_attention(qkv: Linear, context: Input, heads: int) -> Linear:
    """Queries with attention's factor, values in units of what the next layer reads."""
    hidden = len(qkv.bias) // 3
    factor = torch.ones(3, hidden)
    factor[0] = _LOG2_E / (hidden // heads) ** 0.5
    factor[2] = 1 / context.scale
    offset = torch.zeros(3, hidden)
    offset[2] = context.zero
    return Linear(
        qkv.weight,
        qkv.scales * factor.reshape(-1),
        qkv.bias * factor.reshape(-1) + offset.reshape(-1),
    )
