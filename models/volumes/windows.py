"""The sliding window: where windows lie, and how their logits become the classes of a volume.

Windows overlap by half. Where several cover a voxel, their logits are added with Gaussian weights;
the class with the largest sum is the voxel's. MLPerf's reference divides the sums by those of the
weights before, which changes no order and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from models.task import Array, Run

SIDE = 128
STRIDE = 64
SPREAD = 0.125
"""Standard deviation of the weights, in window sides."""
CALL_VOXELS = SIDE**3
"""Of the windows of one call at most: a whole window of MLPerf's, or several smaller ones."""
Shape = tuple[int, int, int]
Labels = NDArray[np.uint8]


def window_of(shape: Sequence[int]) -> Shape:
    """The window of a volume: 128 voxels a side, or all where a side is shorter."""
    depth, height, width = (min(size, SIDE) for size in shape)
    return depth, height, width


def corners(shape: Sequence[int]) -> Iterator[Shape]:
    """First voxels of a volume's windows, along the last axis first.

    Raises ValueError unless windows cover the volume.
    """
    if any(size > SIDE and size % STRIDE for size in shape):
        raise ValueError(f"windows of {SIDE} in steps of {STRIDE} do not cover {tuple(shape)}")
    starts = [range(0, max(size - SIDE, 0) + 1, STRIDE) for size in shape]
    yield from product(*starts)  # type: ignore[misc]


def count(shape: Sequence[int]) -> int:
    """How many windows a volume has."""
    windows = 1
    for size in shape:
        windows *= max(size - SIDE, 0) // STRIDE + 1
    return windows


@lru_cache(maxsize=8)
def weights(shape: Shape) -> NDArray[np.float32]:
    """The Gaussian weights of a window: 1 in its middle."""
    axes = []
    for size in shape:
        distance = np.arange(size) - (size - 1) / 2
        axes.append(np.exp(-(distance**2) / (2 * (SPREAD * size) ** 2)))
    found: Array = np.cbrt(axes[0][:, None, None] * axes[1][:, None] * axes[2])
    found /= found.max()
    return found.astype(np.float32)


def largest(logits: Array, out: Labels) -> None:
    """Write the class of the largest of `logits` [classes, ...] to `out` [...], or the first such.

    Class by class, which is many times quicker than NumPy's argmax over the first axis.
    """
    out[...] = 0
    best = logits[0]
    for number in range(1, len(logits)):
        better = (logits[number] > best).view(np.uint8)
        np.multiply(better, np.uint8(number), out=better)
        np.maximum(out, better, out=out)  # a later class has the larger number
        if number + 1 < len(logits):
            best = np.maximum(best, logits[number])


class Sums:
    """Adds up the logits of a volume's windows, which must come in the order of `corners`.

    A plane is final when the windows that lie over it are through: only as many planes are kept as
    a window is deep, whatever the volume's size.
    """

    def __init__(self, shape: Shape, classes: int) -> None:
        self.labels: Labels = np.empty(shape, np.uint8)
        self._window = window_of(shape)
        self._weights = weights(self._window)
        depth, height, width = self._window[0], *shape[1:]
        self._planes = np.zeros((depth, classes, height, width), np.float32)
        self._product = np.empty((classes, *self._window[1:]), np.float32)
        self._next = 0  # the first plane that is not final

    def add(self, corner: Shape, logits: Array) -> None:
        """Add the logits [classes, D, H, W] of the window at `corner`."""
        first, top, left = corner
        self._finish(first)
        _, high, wide = self._window
        ring = len(self._planes)
        # Plane by plane: what is read, multiplied and added to stays in the core's own cache.
        for plane, factor in enumerate(self._weights):
            np.multiply(logits[:, plane], factor, out=self._product)
            sums = self._planes[(first + plane) % ring, :, top : top + high, left : left + wide]
            sums += self._product

    def finished(self) -> Labels:
        """The classes of all voxels, uint8."""
        self._finish(len(self.labels))
        return self.labels

    def _finish(self, before: int) -> None:
        ring = len(self._planes)
        for plane in range(self._next, before):
            sums = self._planes[plane % ring]
            largest(sums, self.labels[plane])
            sums[:] = 0
        self._next = max(before, self._next)


def segment(run: Run, volumes: Sequence[Array]) -> list[Labels]:
    """The classes of each volume's voxels: uint8 [D, H, W].

    `volumes` are float32 [channels, D, H, W]; `run` maps windows `image` to `logits`. Windows of
    equal shape are run together, of several volumes, too, up to CALL_VOXELS.
    """
    found: list[Labels | None] = [None] * len(volumes)
    sums: dict[int, Sums] = {}
    left = [count(volume.shape[1:]) for volume in volumes]
    for together in _together(volumes):
        logits = run(image=[cut(volumes[number], corner) for number, corner in together])["logits"]
        for (number, corner), each in zip(together, logits, strict=True):
            shape = volumes[number].shape[1:]
            left[number] -= 1
            if each.shape[1:] == shape:  # one window is all
                found[number] = labels = np.empty(shape, np.uint8)
                for plane, out in enumerate(labels):
                    largest(each[:, plane], out)
                continue
            if number not in sums:
                sums[number] = Sums(shape, len(each))
            sums[number].add(corner, each)
            if not left[number]:
                found[number] = sums.pop(number).finished()
    return [labels for labels in found if labels is not None]


def cut(volume: Array, corner: Shape) -> Array:
    """The window [channels, ...] of a volume at a corner: a view."""
    depth, height, width = window_of(volume.shape[1:])
    first, top, left = corner
    return volume[:, first : first + depth, top : top + height, left : left + width]


def _together(volumes: Sequence[Array]) -> Iterator[list[tuple[int, Shape]]]:
    """Windows, as (volume's number, corner), to run at once."""
    waiting: list[tuple[int, Shape]] = []
    shape: tuple[int, ...] = ()
    for number, volume in enumerate(volumes):
        window = (len(volume), *window_of(volume.shape[1:]))
        voxels = window[1] * window[2] * window[3]
        for corner in corners(volume.shape[1:]):
            if waiting and (window != shape or (len(waiting) + 1) * voxels > CALL_VOXELS):
                yield waiting
                waiting = []
            shape = window
            waiting.append((number, corner))
    if waiting:
        yield waiting
