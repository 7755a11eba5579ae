"""From an image file to the pixels a detector sees, as the MLPerf reference does it.

The reference (`maybe_resize` of vision/classification_and_detection/python/dataset.py) decodes with
OpenCV, turns the pixels into float32 *first* and then scales them bilinearly, so that the results
are no whole numbers. It keeps neither aspect ratio nor margin.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from base.errors import InputError
from base.files import why_not_regular
from models.packages import installing_extra
from models.sample import SampleFormat

Pixels = npt.NDArray[Any]
EXTRA = installing_extra("detection")


class Resize(Enum):
    """What becomes of the fractions that scaling leaves."""

    FLOAT = "float32"
    """The network was evaluated on them."""
    WHOLE = "uint8"
    """The reference cuts them off: it stores uint8."""


def decode(path: Path) -> Pixels:
    """The image of a file, uint8 [height, width, 3] in RGB. Raises InputError that names it."""
    try:
        import cv2
    except ImportError:
        raise InputError(f"{path}: reading images for detection needs OpenCV: {EXTRA}") from None
    if trouble := why_not_regular(path):
        absent = not os.path.lexists(path)
        raise InputError(f"{path}: {'no such image' if absent else f'not an image: {trouble}'}")
    try:
        data = np.fromfile(path, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except (OSError, cv2.error) as error:
        raise InputError(f"{path}: broken image ({error})") from None
    if image is None or 0 in image.shape:
        raise InputError(f"{path}: not an image that OpenCV can read")
    rgb: Pixels = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return rgb


def scaled(image: Pixels, height: int, width: int) -> npt.NDArray[np.float32]:
    """The image float32 [height, width, 3], in 0..255."""
    import cv2

    size = (width, height)
    result = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(result, np.float32)


def sample_of(pixels: Pixels, sample: SampleFormat, dtype: str, resize: Resize) -> Pixels:
    """A sample `dtype` [*sample.shape], with its border, of pixels float32 [height, width, 3].

    As uint8 they are rounded, unless the reference itself cuts off. The border of a float32 sample
    is what normalises to zero.
    """
    if resize is Resize.WHOLE:
        pixels = pixels.astype(np.uint8)
    if dtype == "|u1":
        return sample.bordered(np.rint(pixels).astype(np.uint8))
    bordered: Pixels = np.empty(sample.shape, np.float32)
    bordered[:] = sample.mean
    sample.interior(bordered)[:] = pixels
    return bordered


def stored(path: Path, sample: SampleFormat, normalised: bool) -> npt.NDArray[np.float32]:
    """A preprocessed image as CM's scripts keep them, as float32 [height, width, 3] in 0..255.

    The file is .npy or numbers alone, NCHW or NHWC: float32 in 0..1, or with `normalised`
    (value - mean) / std; or uint8. Raises InputError.
    """
    count = sample.height * sample.width * 3
    try:
        with path.open("rb") as file:
            npy = file.read(6) == b"\x93NUMPY"
        array = np.load(path, allow_pickle=False) if npy else np.fromfile(path, np.float32)
        if array.size != count:
            raise ValueError(f"{array.dtype}{list(array.shape)}")
        if array.dtype not in (np.float32, np.uint8):
            raise ValueError(f"{array.dtype}")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, EOFError, TypeError) as error:
        raise InputError(
            f"{path}: not a preprocessed image, float32 [3, {sample.height}, {sample.width}] "
            f"({error})"
        ) from None
    if array.shape[-1:] == (3,):
        array = array.reshape(sample.height, sample.width, 3)
    else:
        array = array.reshape(3, sample.height, sample.width).transpose(1, 2, 0)
    if array.dtype == np.uint8:
        return array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"{path}: not a preprocessed image: it has values that are not finite")
    if normalised:
        array = array * np.array(sample.std, np.float32) + np.array(sample.mean, np.float32)
        return np.ascontiguousarray(array, np.float32)
    return np.ascontiguousarray(array * np.float32(255), np.float32)
