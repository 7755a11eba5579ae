"""A script: an int8 layer's distance from whole numbers, signed and unsigned, as JSON."""

from __future__ import annotations

import json

import numpy as np
import torch

from netrun.engines.pytorch.linear import linear, sums_are_right

torch.set_num_threads(1)
drawn = np.random.default_rng(1)
weight = drawn.integers(-127, 128, (250, 300), dtype=np.int8)
weight[:2] = 127
scales = drawn.random(len(weight), np.float32)
bias = drawn.random(len(weight), np.float32)
distances = {}
for kind, low, high in ((np.int8, -127, 127), (np.uint8, 0, 255)):
    stored = drawn.integers(low, high + 1, (5, weight.shape[1])).astype(kind)
    stored[:2] = high
    whole = 0.5 * scales * (stored.astype(np.int64) @ weight.T.astype(np.int64)) + bias
    layer = linear(weight, scales, bias, source=0.5)
    narrow = linear(*(weight, scales, bias), source=0.5, output=(2000.0, torch.int8), after="relu")
    given = torch.from_numpy(stored)
    kept = np.clip(np.rint(np.maximum(whole, 0) / 2000), 0, 127)
    distances[np.dtype(kind).name] = (
        float(np.abs(layer(given).numpy() / whole - 1).max()),
        float(np.abs(narrow(given).numpy() - kept).max()),
    )
print(json.dumps({"through onednn": sums_are_right(), "distances": distances}))
