"""cv2.resize with INTER_AREA, bit for bit: what the reference's pre_process_vgg scales with.

Each result is the mean of the source pixels it covers, the ones at the edges in part. OpenCV sums
in float32, row by row, and rounds half to even; where an image grows in either direction it falls
back to two taps in each.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.imagenet.preprocess import WEIGHT_ONE, Taps, halved, middle, mix_two_taps
from models.sample import Pixels

_LEAST = 1e-3
"""A smaller part of a pixel does not count."""


def opencv_area_square(image: Image.Image) -> Pixels:
    """Return uint8 [224, 224, 3] as the reference's pre_process_vgg scales and crops."""
    return opencv_area(np.asarray(image), *middle(image))


def opencv_area(pixels: Pixels, size: tuple[int, int], rows: range, columns: range) -> Pixels:
    """Return some rows and columns of cv2.resize(pixels, size, INTER_AREA), bit for bit.

    pixels is uint8 [height, width, 3], size the height and width of the whole result.
    """
    scales = pixels.shape[0] / size[0], pixels.shape[1] / size[1]
    if min(scales) < 1:
        across = _growing_taps(pixels.shape[1], size[1], columns)
        down = _growing_taps(pixels.shape[0], size[0], rows)
        return mix_two_taps(pixels, across, down)
    if scales == (2.0, 2.0):
        return halved(pixels, rows, columns)
    if all(scale.is_integer() for scale in scales):
        return _whole_cells(pixels, int(scales[0]), int(scales[1]), rows, columns)
    across_index, across_weight = _cells(pixels.shape[1], scales[1], columns)
    down_index, down_weight = _cells(pixels.shape[0], scales[0], rows)
    needed, place = np.unique(down_index, return_inverse=True)
    source = pixels[needed].astype(np.float32)
    lines = np.zeros((len(needed), len(columns), 3), np.float32)
    for index, weight in zip(across_index, across_weight, strict=True):
        lines += source.take(index, axis=1) * weight[:, None]
    total = np.zeros((len(rows), len(columns), 3), np.float32)
    for index, weight in zip(place.reshape(down_index.shape), down_weight, strict=True):
        total += lines.take(index, axis=0) * weight[:, None, None]
    result: Pixels = np.rint(total).clip(0, 255).astype(np.uint8)
    return result


def _cells(
    source: int, scale: float, wanted: range
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the pixels that each wanted result covers, and their weights: [taps, wanted] each.

    Results that cover fewer pixels than others have weights of 0, which change no sum.
    """
    cells = [_cell(source, scale, position) for position in wanted]
    most = max(map(len, cells))
    index = np.zeros((most, len(cells)), np.int64)
    weight = np.zeros((most, len(cells)), np.float32)
    for column, cell in enumerate(cells):
        for tap, (pixel, share) in enumerate(cell):
            index[tap, column], weight[tap, column] = pixel, share
    return index, weight


def _cell(source: int, scale: float, position: int) -> list[tuple[int, float]]:
    begin = position * scale
    end = begin + scale
    width = min(scale, source - begin)
    last = min(math.floor(end), source - 1)
    first = min(math.ceil(begin), last)
    cell = []
    if first - begin > _LEAST:
        cell.append((first - 1, (first - begin) / width))
    cell += [(pixel, 1.0 / width) for pixel in range(first, last)]
    if end - last > _LEAST:
        cell.append((last, min(end - last, 1.0, width) / width))
    return cell


def _whole_cells(pixels: Pixels, down: int, across: int, rows: range, columns: range) -> Pixels:
    part = pixels[
        down * rows.start : down * rows.stop, across * columns.start : across * columns.stop
    ]
    cells = part.reshape(len(rows), down, len(columns), across, 3)
    total = cells.sum(axis=(1, 3), dtype=np.int32)
    mean = total.astype(np.float32) * np.float32(1 / (down * across))
    result: Pixels = np.rint(mean).astype(np.uint8)
    return result


def _growing_taps(source: int, target: int, wanted: range) -> Taps:
    position = np.asarray(wanted, np.float64)
    first = np.floor(position * (source / target)).astype(np.int64)
    fraction = ((position + 1) - (first + 1) * (target / source)).astype(np.float32)
    fraction = np.where(fraction <= 0, np.float32(0), fraction - np.floor(fraction))
    weight = np.rint(fraction * np.float32(WEIGHT_ONE)).astype(np.int32)
    return np.clip(first, 0, source - 1), np.clip(first + 1, 0, source - 1), weight
