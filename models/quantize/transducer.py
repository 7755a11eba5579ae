"""A recurrent transducer in int8: weights of its LSTM layers, everything else as it was.

A state lies between -1 and 1 whatever the network is given, so that it is stored as ``q = h * 127``
without any calibration; only features have a range that has to be seen. Weights have a scale for
each output. Pre-activations, gates and cells stay floating-point numbers.

Arrays of an encoder, by layer ``n``: ``n.input`` and ``n.state`` with ``.weight`` int8 [4 h, in],
``.scales`` and ``.bias`` float32 [4 h]; `joined` likewise, what it gives to the joint network.
Gates come in the order i, f, g, o, as exponents of two (`EXPONENTS`). Of a prediction network, the
first layer's input is a table float32 [labels + 1, 4 h], a row for each label. Widths are filled up
with zeros to what tiles want.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
VERSION = "1"
"""Of what this module makes of a network: part of every key that rests on it."""
LARGEST = 127.0
WIDTH, LINE = 32, 64
"""What outputs and inputs are filled up to."""
EXPONENTS = np.array([-1.0, -1.0, -2.0, -1.0]) / math.log(2)
"""Of i, f, g, o: sigmoid(x) = 1 / (1 + 2 ** (-x / ln 2)), tanh(x) = 2 sigmoid(2 x) - 1."""
THRESHOLDS = 100
_SMALLEST = 1e-12


def encoder(module: Any, features: Sequence[NDArray[np.float32]]) -> Arrays:
    """The arrays of an encoder: an LSTM, pairs of its outputs, a second LSTM, a linear layer."""
    scale = feature_scale(features)
    found: Arrays = {"features.scale": np.array(scale, np.float32)}
    first, second = module.pre_rnn.lstm, module.post_rnn.lstm
    number = 0
    for lstm in (first, second):
        for layer in range(lstm.num_layers):
            name = f"{number}.input"
            given = 1 / LARGEST if number else scale
            weight = _gates(lstm, "weight_ih", layer, states=number > 0)
            found |= _layer(name, weight, given, _bias(lstm, layer))
            state = _gates(lstm, "weight_hh", layer)
            found |= _layer(f"{number}.state", state, 1 / LARGEST)
            number += 1
    return found | _linear("joined", module.joint_side)


def prediction(module: Any) -> Arrays:
    """The arrays of a prediction network: an embedding, an LSTM, a linear layer."""
    lstm = module.dec_rnn.lstm
    embedded = _array(module.embed.weight).astype(np.float64)
    table = embedded @ _array(lstm.weight_ih_l0).astype(np.float64).T
    rows = table.reshape(len(table), 4, -1).transpose(1, 2, 0)
    exponents = _filled(rows, lstm.hidden_size) + _bias(lstm, 0)[:, :, None]
    found: Arrays = {"table": exponents.reshape(-1, len(table)).T.astype(np.float32)}
    found |= _layer("0.state", _gates(lstm, "weight_hh", 0), 1 / LARGEST)
    for layer in range(1, lstm.num_layers):
        bias = _bias(lstm, layer)
        found |= _layer(f"{layer}.input", _gates(lstm, "weight_ih", layer), 1 / LARGEST, bias)
        found |= _layer(f"{layer}.state", _gates(lstm, "weight_hh", layer), 1 / LARGEST)
    return found | _linear("joined", module.joint_side)


def joint(module: Any) -> Arrays:
    """The arrays of a joint network, in float32."""
    weight = _array(module.out.weight)
    more = up(weight.shape[1], WIDTH) - weight.shape[1]
    return {"weight": np.pad(weight, ((0, 0), (0, more))), "bias": _array(module.out.bias)}


def feature_scale(features: Sequence[NDArray[np.float32]]) -> float:
    """The step of features that errs least: a smaller one cuts off, a larger one rounds more."""
    size = np.abs(np.concatenate([one.reshape(-1) for one in features]))
    counts, edges = np.histogram(size, 4096)
    values = (edges[:-1] + edges[1:]) / 2
    best, least = 1.0 / LARGEST, math.inf
    for most in edges[-1] * np.arange(1, THRESHOLDS + 1) / THRESHOLDS:
        step = most / LARGEST
        cut = np.maximum(values - most, 0)
        error = float(counts @ (np.square(cut) + np.where(cut > 0, 0, step**2 / 12)))
        if error < least and most > 0:
            best, least = float(step), error
    return best


def up(width: int, unit: int) -> int:
    """`width`, filled up to whole units."""
    return -(-width // unit) * unit


def _array(tensor: Any) -> NDArray[np.float32]:
    found: NDArray[np.float32] = tensor.detach().float().numpy()
    return found


def _gates(lstm: Any, kind: str, layer: int, states: bool = True) -> NDArray[np.float64]:
    """Weights [4, h, in] of a layer as exponents, both widths filled up.

    `states`: it is given states of a layer like it, one or several side by side.
    """
    weight = _array(getattr(lstm, f"{kind}_l{layer}")).astype(np.float64)
    gates = _filled(weight.reshape(4, -1, weight.shape[1]), lstm.hidden_size)
    parts = gates.reshape(*gates.shape[:2], -1, lstm.hidden_size if states else weight.shape[1])
    more = up(parts.shape[3], LINE) - parts.shape[3]
    return np.pad(parts, ((0, 0), (0, 0), (0, 0), (0, more))).reshape(*gates.shape[:2], -1)


def _bias(lstm: Any, layer: int) -> NDArray[np.float64]:
    """The bias [4, h] of a layer as exponents, filled up."""
    both = sum(
        _array(getattr(lstm, f"{kind}_l{layer}")).astype(np.float64)
        for kind in ("bias_ih", "bias_hh")
    )
    return _filled(np.asarray(both).reshape(4, -1), lstm.hidden_size)


def _filled(gates: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Gates [4, h, ...] as exponents, with units of nothing: their states stay 0."""
    more = [(0, 0)] * (gates.ndim - 2)
    exponents = gates * EXPONENTS.reshape(4, *[1] * (gates.ndim - 1))
    return np.pad(exponents, ((0, 0), (0, up(width, LINE) - width), *more))


def _layer(
    name: str, gates: NDArray[np.float64], given: float, bias: NDArray[np.float64] | None = None
) -> Arrays:
    weight = gates.reshape(-1, gates.shape[2])
    offset = np.zeros(len(weight)) if bias is None else bias.reshape(-1)
    return _rounded(name, weight, given, offset)


def _linear(name: str, module: Any) -> Arrays:
    weight = _array(module.weight).astype(np.float64)
    bias = np.zeros(len(weight)) if module.bias is None else _array(module.bias)
    out, inside = (up(size, unit) for size, unit in zip(weight.shape, (WIDTH, LINE), strict=True))
    weight = np.pad(weight, ((0, out - len(weight)), (0, inside - weight.shape[1])))
    return _rounded(name, weight, 1 / LARGEST, np.pad(bias, (0, out - len(bias))))


def _rounded(name: str, weight: NDArray[np.float64], given: float, bias: NDArray[Any]) -> Arrays:
    scales = np.maximum(np.abs(weight).max(1), _SMALLEST) / LARGEST
    return {
        f"{name}.weight": np.round(weight / scales[:, None]).astype(np.int8),
        f"{name}.scales": (scales * given).astype(np.float32),
        f"{name}.bias": bias.astype(np.float32),
    }
