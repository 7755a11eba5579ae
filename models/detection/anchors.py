"""Anchors: the boxes at fixed places that a detector's outputs are relative to.

They are computed in the precision, and rounded, as each network's training code does it: weights
were trained with exactly these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float32]

RETINANET_SIZES = (32, 64, 128, 256, 512)
"""Of the smallest anchor of each level."""
RETINANET_RATIOS = (0.5, 1.0, 2.0)
"""Height to width."""
R34_SCALES = (21, 45, 99, 153, 207, 261, 315)
"""Of an image of 300 pixels."""
R34_RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
SSD_SMALLEST, SSD_LARGEST = 0.2, 0.95


def retinanet_anchors(image: int, grids: Sequence[int]) -> list[Boxes]:
    """Of each level float32 [grid * grid * 9, 4]: left, top, right, bottom in pixels.

    By rows, then columns, then ratios, then sizes. Their distance is the whole part of image / grid
    (61 and 114 pixels on the two coarse levels of an image of 800), and the first one's centre is
    the corner of the image. Corners are rounded to whole pixels, halves to even.
    """
    levels = []
    for size, grid in zip(RETINANET_SIZES, grids, strict=True):
        sizes = np.array([size, int(size * 2 ** (1 / 3)), int(size * 2 ** (2 / 3))], np.float32)
        height = np.sqrt(np.array(RETINANET_RATIOS, np.float32))
        width = 1 / height
        half_width, half_height = (np.outer(r, sizes).reshape(-1) / 2 for r in (width, height))
        cell = np.rint(np.stack([-half_width, -half_height, half_width, half_height], 1))
        steps = np.arange(grid, dtype=np.float32) * np.float32(image // grid)
        y, x = np.meshgrid(steps, steps, indexing="ij")
        places = np.stack([x, y, x, y], 2).reshape(-1, 1, 4)
        levels.append((places + cell).reshape(-1, 4).astype(np.float32))
    return levels


def r34_boxes(image: int, grids: Sequence[int]) -> list[Boxes]:
    """Of each level float32 [boxes, grid * grid, 4]: centre x and y, width, height, in 0..1.

    A grid's pitch is that of the whole part of image / grid: 3 cells of an image of 1200 have a
    pitch of 400, 7 cells one of 171.
    """
    scales = [int(scale * image / 300) for scale in R34_SCALES]
    levels = []
    for level, grid in enumerate(grids):
        pitch = image // int(image / grid)
        small, large = scales[level] / image, scales[level + 1] / image
        between = math.sqrt(small * large)
        sizes = [(small, small), (between, between)]
        for ratio in R34_RATIOS[level]:
            width, height = small * math.sqrt(ratio), small / math.sqrt(ratio)
            sizes += [(width, height), (height, width)]
        centres = (np.arange(grid) + 0.5) / pitch
        boxes = np.empty((len(sizes), grid, grid, 4))
        boxes[..., 0] = centres[None, None, :]
        boxes[..., 1] = centres[None, :, None]
        boxes[..., 2:] = np.array(sizes)[:, None, None, :]
        levels.append(boxes.reshape(len(sizes), -1, 4).astype(np.float32).clip(0, 1))
    return levels


def ssd_anchors(grids: Sequence[int]) -> list[Boxes]:
    """Of each level float32 [grid * grid * boxes, 4]: centre y and x, height, width, in 0..1.

    TensorFlow's `ssd_anchor_generator`: six boxes a cell, by rows, columns, then boxes; three on
    the first level, of which one is small.
    """
    steps = len(grids) - 1
    span = SSD_LARGEST - SSD_SMALLEST
    scales = [*(SSD_SMALLEST + span * level / steps for level in range(len(grids))), 1.0]
    levels = []
    for level, grid in enumerate(grids):
        scale = scales[level]
        if level == 0:
            sizes = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        else:
            sizes = [(scale, ratio) for ratio in (1.0, 2.0, 1 / 2, 3.0, 1 / 3)]
            sizes.append((math.sqrt(scale * scales[level + 1]), 1.0))
        centres = (np.arange(grid) + 0.5) / grid
        boxes = np.empty((grid, grid, len(sizes), 4))
        boxes[..., 0] = centres[:, None, None]
        boxes[..., 1] = centres[None, :, None]
        boxes[..., 2] = [size / math.sqrt(ratio) for size, ratio in sizes]
        boxes[..., 3] = [size * math.sqrt(ratio) for size, ratio in sizes]
        levels.append(boxes.reshape(-1, 4).astype(np.float32))
    return levels
