"""Runs the parts of an int8 transducer with the kernels for AMX."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from netrun.engines.laps import Laps
from netrun.engines.transducer.artifact import JOINED, Arrays
from netrun.engines.transducer.layers import Buffer, Layer, Place, Rowwise, Scratch
from netrun.engines.transducer.rows import Rows

STACKED = 2
LARGEST = 127.0
_HALF = 2
Floats = NDArray[np.float32]


class Encoder:
    """LSTM layers over features, of which those from `stacked` on see two frames as one."""

    def __init__(self, arrays: Arrays, threads: int, lib: ctypes.CDLL) -> None:
        """Make all kernels; raises OSError where memory cannot be made executable."""
        self.each = Laps()
        self._scale = np.float32(1 / arrays["features.scale"])
        count = sum(name.endswith(".state.weight") for name in arrays)
        units = int(arrays["0.state.shape"][1])
        widths = [int(arrays[f"{n}.input.shape"][1]) for n in range(count)]
        self._stacks = next(n for n in range(1, count) if widths[n] == STACKED * units)
        self._units = units
        # Inputs of each layer, and what the last one gives.
        self._buffers = [Buffer(width) for width in [*widths, units]]
        scratch = Scratch(units)
        strides = [buffer.stride for buffer in self._buffers]
        self._layers = [
            Layer(arrays, n, (strides[n], strides[n + 1]), scratch, self.each, threads, lib)
            for n in range(count)
        ]
        self._join = Joined(arrays, strides[-1], threads, lib)

    def run(self, features: Floats, lengths: NDArray[np.int64]) -> Floats:
        """Return [n, ceil(T / 2), J] of features [n, T, 240], of which `lengths` are valid."""
        frames = -(-features.shape[1] // STACKED)
        encoded = np.zeros((len(features), frames, self._join.out), np.float32)
        order = np.argsort(-lengths, kind="stable")
        order = order[lengths[order] > 0]
        if not len(order):
            return encoded
        rows = Rows.of(lengths[order])
        pairs = Rows.of(-(-rows.lengths // STACKED))
        self._store(features, order, rows)
        source = self._buffers[0].address
        for number, layer in enumerate(self._layers):
            given = rows if number < self._stacks else pairs
            target = self._buffers[number + 1]
            if number + 1 == self._stacks:
                target.reserve(pairs.total)
                # An odd last frame is stacked with zeros.
                odd = np.flatnonzero(rows.lengths % STACKED)
                target.rows(pairs.total)[pairs.starts[pairs.lengths[odd] - 1] + odd] = 0
                place = Place(target.address, rows, STACKED, self._units, pairs)
            else:
                target.reserve(given.total)
                place = Place(target.address, given)
            layer.run(given, source, place)
            source = target.address
        joined = self.each(JOINED, self._join.run, source, pairs.total)
        for rank, one in enumerate(order.tolist()):
            encoded[one, : pairs.lengths[rank]] = joined[pairs.of_utterance(rank)]
        return encoded

    def _store(self, features: Floats, order: NDArray[np.int64], rows: Rows) -> None:
        """Features as integers, by step."""
        buffer = self._buffers[0]
        buffer.reserve(rows.total)
        width = features.shape[2]
        stored = buffer.rows(rows.total)[:, :width].view(np.int8)
        for rank, one in enumerate(order.tolist()):
            scaled = features[one, : rows.lengths[rank]] * self._scale
            np.clip(np.rint(scaled, out=scaled), -LARGEST, LARGEST, out=scaled)
            stored[rows.of_utterance(rank)] = scaled.astype(np.int8)


class Joined:
    """What the joint network is given: a product of a layer's states."""

    def __init__(self, arrays: Arrays, stride: int, threads: int, lib: ctypes.CDLL) -> None:
        self.out = int(arrays[f"{JOINED}.shape"][0])
        self._buffer = Buffer(_HALF * self.out)
        self._product = Rowwise(arrays, JOINED, "half", (stride, self._buffer.stride), threads, lib)

    def run(self, source: int, rows: int) -> NDArray[np.float16]:
        """Return [rows, out] of states at `source`, valid until the next call."""
        self._buffer.reserve(rows)
        self._product.run(rows, source, self._buffer.address)
        found: NDArray[np.float16] = self._buffer.rows(rows)[:, : _HALF * self.out].view(np.float16)
        return found


class Prediction:
    """One step of the prediction network: a table for the last label, LSTM layers, a product."""

    def __init__(self, arrays: Arrays, threads: int, lib: ctypes.CDLL) -> None:
        """Make all kernels; raises OSError where memory cannot be made executable."""
        self.each = Laps()
        self._table = arrays["table"]
        self._units = units = int(arrays["0.state.shape"][1])
        count = sum(name.endswith(".state.weight") for name in arrays)
        self._scratch = Scratch(units)
        self._before = [Buffer(units) for _ in range(count)]
        self._after = [Buffer(units) for _ in range(count)]
        stride = self._before[0].stride
        self._layers = [
            Layer(arrays, n, (stride, stride), self._scratch, self.each, threads, lib)
            for n in range(count)
        ]
        self._join = Joined(arrays, stride, threads, lib)

    def run(
        self, label: NDArray[np.int64], hidden: Floats, cell: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Return [n, J] and the new state [n, layers, width] twice."""
        count, layers, width = len(label), len(self._layers), self._units
        exponents, cells = self._scratch.exponents, self._scratch.cells
        exponents.reserve(count)
        self._scratch.gates.reserve(count)
        cells.reserve(count)
        known = hidden.shape[1] > 0
        next_hidden = np.empty((count, layers, width), np.float32)
        next_cell = np.empty((count, layers, width), np.float32)
        stored = np.rint(hidden * np.float32(LARGEST)).astype(np.int8) if known else None
        for number, layer in enumerate(self._layers):
            before, after = self._before[number], self._after[number]
            before.reserve(count)
            after.reserve(count)
            if number == 0:
                halves = exponents.rows(count)[:, : 8 * self._units].view(np.float16)
                np.take(self._table, label, axis=0, out=halves, mode="clip")
            else:
                layer.inputs(self._after[number - 1].address, count)
            address = cells.ready(count)
            if stored is not None:
                before.rows(count)[:, :width].view(np.int8)[:] = stored[:, number]
                cells.rows(count)[:, :width] = cell[:, number]
            layer.step(
                count,
                exponents.address,
                before.address if known else None,
                address,
                after.address,
            )
            next_hidden[:, number] = after.rows(count)[:, :width].view(np.int8)
            next_cell[:, number] = cells.rows(count)[:, :width]
        next_hidden *= np.float32(1 / LARGEST)
        joined = self.each(JOINED, self._join.run, self._after[-1].address, count)
        return joined.astype(np.float32), next_hidden, next_cell


class Joint:
    """Both halves to the likeliest label, in float32."""

    def __init__(self, arrays: Arrays) -> None:
        self._weight = np.ascontiguousarray(arrays["weight"].T)
        self._bias = arrays["bias"]

    def run(self, encoded: Floats, predicted: Floats) -> NDArray[np.int64]:
        """Return int64 [n] of [n, J] twice."""
        both = encoded + predicted
        logits = np.maximum(both, 0, out=both) @ self._weight
        logits += self._bias
        found: NDArray[np.int64] = logits.argmax(1)
        return found
