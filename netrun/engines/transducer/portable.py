"""An int8 transducer through PyTorch's oneDNN operators, for processors without AMX.

It computes what the kernels for AMX compute, from the same artifacts: products in int8, all else in
float32. PyTorch lays weights out for itself, so that every instance has a copy of its own.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netrun.engines.laps import Laps
from netrun.engines.pytorch.linear import Layer, linear
from netrun.engines.transducer.artifact import JOINED, KERNELS, LANES, Arrays, unpack
from netrun.engines.transducer.rows import Rows

LARGEST = 127.0
STACKED = 2
Floats = NDArray[np.float32]


class PortableEncoder:
    """`executor.Encoder` without tiles."""

    def __init__(self, arrays: Arrays, threads: int) -> None:
        """Take the weights over into PyTorch's layout."""
        torch.set_num_threads(threads)
        self.each = Laps()
        self._scale = float(1 / arrays["features.scale"])
        count = sum(name.endswith(".state.weight") for name in arrays)
        self._inputs = [_product(arrays, f"{n}.input") for n in range(count)]
        self._states = [_product(arrays, f"{n}.state") for n in range(count)]
        units = int(arrays["0.state.shape"][1])
        widths = [int(arrays[f"{n}.input.shape"][1]) for n in range(count)]
        self._units, self._first = units, widths[0]
        self._stacks = next(n for n in range(1, count) if widths[n] == STACKED * units)
        self._names = _names(count)
        self._join = _product(arrays, JOINED)
        self._out = int(arrays[f"{JOINED}.shape"][0])

    def run(self, features: Floats, lengths: NDArray[np.int64]) -> Floats:
        """As `executor.Encoder.run`."""
        frames = -(-features.shape[1] // STACKED)
        encoded = np.zeros((len(features), frames, self._out), np.float32)
        order = np.argsort(-lengths, kind="stable")
        order = order[lengths[order] > 0]
        if not len(order):
            return encoded
        rows = Rows.of(lengths[order])
        pairs = Rows.of(-(-rows.lengths // STACKED))
        with torch.inference_mode():
            stored = torch.zeros(rows.total, self._first)
            for rank, one in enumerate(order.tolist()):
                given = torch.from_numpy(features[one, : rows.lengths[rank]])
                stored[rows.of_utterance(rank), : features.shape[2]] = given * self._scale
            source = _stored(stored)
            for number in range(len(self._inputs)):
                if number == self._stacks:
                    source = self._stacked(source, rows, pairs)
                source = self._layer(number, source, rows if number < self._stacks else pairs)
            joined = self.each(JOINED, self._join, source).numpy()
        for rank, one in enumerate(order.tolist()):
            encoded[one, : pairs.lengths[rank]] = joined[pairs.of_utterance(rank)]
        return encoded

    def _layer(self, number: int, source: Tensor, rows: Rows) -> Tensor:
        name, state_name, gates_name = self._names[number]
        exponents = self.each(name, self._inputs[number], source)
        states = torch.empty(rows.total, self._units, dtype=torch.int8)
        cell = torch.zeros(int(rows.counts[0]), self._units)
        state = None
        for start, count in zip(rows.starts.tolist(), rows.counts.tolist(), strict=True):
            given = exponents[start : start + count]
            if state is not None:
                given = given + self.each(state_name, self._states[number], state[:count])
            state, cell = self.each(gates_name, gates, given, cell[:count])
            states[start : start + count] = state
        return states

    def _stacked(self, source: Tensor, rows: Rows, pairs: Rows) -> Tensor:
        found = torch.zeros(pairs.total, STACKED, self._units, dtype=torch.int8)
        steps = zip(rows.starts.tolist(), rows.counts.tolist(), strict=True)
        for step, (start, count) in enumerate(steps):
            into = int(pairs.starts[step // STACKED])
            found[into : into + count, step % STACKED] = source[start : start + count]
        return found.view(pairs.total, -1)


class PortablePrediction:
    """`executor.Prediction` without tiles."""

    def __init__(self, arrays: Arrays, threads: int) -> None:
        """Take the weights over into PyTorch's layout."""
        torch.set_num_threads(threads)
        self.each = Laps()
        self._table = torch.from_numpy(arrays["table"].astype(np.float32))
        count = sum(name.endswith(".state.weight") for name in arrays)
        self._inputs = [_product(arrays, f"{n}.input") for n in range(1, count)]
        self._states = [_product(arrays, f"{n}.state") for n in range(count)]
        self._units = int(arrays["0.state.shape"][1])
        self._names = _names(count)
        self._join = _product(arrays, JOINED)

    def run(
        self, label: NDArray[np.int64], hidden: Floats, cell: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """As `executor.Prediction.run`."""
        with torch.inference_mode():
            given = self._table[torch.from_numpy(label)]
            known = hidden.shape[1] > 0
            before = _stored(torch.from_numpy(hidden) * LARGEST)
            states: list[Tensor] = []
            cells: list[Tensor] = []
            for number, product in enumerate(self._states):
                name, state_name, gates_name = self._names[number]
                if number:
                    given = self.each(name, self._inputs[number - 1], states[-1])
                if known:
                    given = given + self.each(state_name, product, before[:, number].contiguous())
                    old = torch.from_numpy(np.ascontiguousarray(cell[:, number]))
                else:
                    old = torch.zeros(len(label), self._units)
                state, new = self.each(gates_name, gates, given, old)
                states.append(state)
                cells.append(new)
            joined = self.each(JOINED, self._join, states[-1]).numpy()
        next_hidden = torch.stack(states, 1).float().mul_(1 / LARGEST).numpy()
        return joined, next_hidden, torch.stack(cells, 1).numpy()


def gates(exponents: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The next state, int8, and cell of exponents [n, 4 units] as kernels have them."""
    groups = torch.sigmoid(exponents * -math.log(2)).view(len(exponents), -1, 4, LANES)
    i, f, g, o = (groups[:, :, gate].reshape(len(exponents), -1) for gate in range(4))
    cell = f * cell + i * (2 * g - 1)
    return _stored(o * torch.tanh(cell) * LARGEST), cell


def _stored(values: Tensor) -> Tensor:
    return torch.round(values).clamp_(-LARGEST, LARGEST).to(torch.int8)


def _names(layers: int) -> list[list[str]]:
    """Of each layer's kernels."""
    return [[f"{number}.{kind}" for kind in KERNELS] for number in range(layers)]


def _product(arrays: Arrays, name: str) -> Layer:
    return linear(*unpack(arrays, name))
