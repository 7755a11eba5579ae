"""From an image file to the square of pixels a network sees, as the MLPerf reference does it.

The reference is vision/classification_and_detection/python/dataset.py of mlcommons/inference:
`pre_process_imagenet_pytorch` for resnet50, `pre_process_vgg` for resnet50 with TensorFlow's
weights (models/imagenet/area.py), `pre_process_mobilenet` for mobilenet. All decode to RGB (turned
upright as the file's EXIF orientation says), scale the shorter side to 256 and take the middle
224 x 224; they differ in how they scale and round.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from base.errors import InputError
from base.files import why_not_regular
from models.sample import Pixels

SHORT_SIDE = 256
"""Length of an image's shorter side before the crop: 224 is 87.5 % of it."""
SIZE = 224
"""Height and width of the square a network sees."""

# OpenCV's 8-bit bilinear resize: weights of 11 fractional bits, and the vertical step's shifts.
WEIGHT_ONE = 1 << 11

Taps = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]
"""Two source positions for each wanted result, and the second's weight in parts of WEIGHT_ONE."""


def decode(path: Path) -> Image.Image:
    """Return the upright RGB image of a file. Raises InputError that names the file."""
    if trouble := why_not_regular(path):
        absent = not os.path.lexists(path)
        raise InputError(f"{path}: {'no such image' if absent else f'not an image: {trouble}'}")
    try:
        with Image.open(path) as image:
            return _rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise InputError(f"{path}: not an image that Pillow can read") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: broken image ({error})") from None


def _rgb(image: Image.Image) -> Image.Image:
    """Return 8-bit RGB as the reference's cv2.imread: of 16-bit grey the upper byte counts."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def scaled_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Return width and height with the shorter side at short_side, the longer rounded down."""
    if height > width:
        return short_side, int(short_side * height / width)
    return int(short_side * width / height), short_side


def torchvision_square(image: Image.Image) -> Pixels:
    """Return uint8 [SIZE, SIZE, 3] as torchvision's resize and center_crop do on a Pillow image."""
    size = scaled_size(image.width, image.height, SHORT_SIDE)
    scaled = image.resize(size, Image.Resampling.BILINEAR)
    # center_crop rounds half an odd remainder to the even neighbour.
    left = round((scaled.width - SIZE) / 2)
    top = round((scaled.height - SIZE) / 2)
    square: Pixels = np.asarray(scaled.crop((left, top, left + SIZE, top + SIZE)))
    return square


def opencv_square(image: Image.Image) -> Pixels:
    """Return uint8 [SIZE, SIZE, 3] as the reference's resize_with_aspectratio and center_crop."""
    return opencv_bilinear(np.asarray(image), *middle(image))


def middle(image: Image.Image) -> tuple[tuple[int, int], range, range]:
    """Return height and width of the whole scaled image, and the rows and columns of its middle."""
    width, height = scaled_size(image.width, image.height, SHORT_SIDE)
    left = (width - SIZE) // 2
    top = (height - SIZE) // 2
    return (height, width), range(top, top + SIZE), range(left, left + SIZE)


def opencv_bilinear(pixels: Pixels, size: tuple[int, int], rows: range, columns: range) -> Pixels:
    """Return some rows and columns of cv2.resize(pixels, size, INTER_LINEAR), bit for bit.

    pixels is uint8 [height, width, 3], size the height and width of the whole result. OpenCV
    does not widen the filter when it scales down: each result is made of 2 x 2 pixels, weighted
    with 11 fractional bits. Scaling to exactly half is OpenCV's special case: the rounded mean.
    """
    height, width = pixels.shape[:2]
    if (height, width) == (2 * size[0], 2 * size[1]):
        return halved(pixels, rows, columns)
    return mix_two_taps(pixels, _taps(width, size[1], columns), _taps(height, size[0], rows))


def mix_two_taps(pixels: Pixels, across: Taps, down: Taps) -> Pixels:
    """Return [rows, columns, 3], each of two pixels across and two down, as OpenCV rounds them."""
    x0, x1, right = across
    y0, y1, lower = down
    needed, place = np.unique(np.concatenate([y0, y1]), return_inverse=True)
    source = pixels[needed]
    right = right[:, None]
    lines = np.multiply(source.take(x0, axis=1), WEIGHT_ONE - right, dtype=np.int32)
    lines += np.multiply(source.take(x1, axis=1), right, dtype=np.int32)
    lines >>= 4
    lower = lower[:, None, None]
    mixed = lines.take(place[: len(y0)], axis=0)
    mixed *= WEIGHT_ONE - lower
    mixed >>= 16
    below = lines.take(place[len(y0) :], axis=0)
    below *= lower
    below >>= 16
    mixed += below
    mixed += 2
    mixed >>= 2
    result: Pixels = mixed.astype(np.uint8)
    return result


def _taps(source: int, target: int, wanted: range) -> Taps:
    """Return the two source positions of each wanted target position and the second's weight.

    Over an edge both positions are the edge, but the weights stay: each product is rounded down
    for itself, so that splitting an edge pixel's weight matters.
    """
    centre = np.asarray(wanted, np.float64) + 0.5
    position = (centre * (source / target) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    fraction = position - first.astype(np.float32)
    second = np.clip(first + 1, 0, source - 1)
    first = np.clip(first, 0, source - 1)
    return first, second, np.rint(fraction * np.float32(WEIGHT_ONE)).astype(np.int32)


def halved(pixels: Pixels, rows: range, columns: range) -> Pixels:
    """Return some rows and columns of an image of half the size: OpenCV's rounded mean of four."""
    part = pixels[2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop].astype(
        np.uint16
    )
    total = part[0::2, 0::2] + part[0::2, 1::2] + part[1::2, 0::2] + part[1::2, 1::2]
    return ((total + 2) >> 2).astype(np.uint8)
