"""Sound files: what they are, and their samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from base.errors import InputError
from base.files import why_not_regular
from models.packages import installing_extra


class Sound(NamedTuple):
    """What a file says of itself."""

    rate: int
    samples: int
    channels: int
    whole: bool
    """Whether its samples are of 16 bits, which int16 holds without loss."""


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError):
        # OSError: the package is there, and its library not.
        raise InputError(f"reading sound needs soundfile: {installing_extra('speech')}") from None
    return soundfile


def describe(path: Path) -> Sound:
    """Return what a FLAC or WAV file holds. Raises InputError."""
    if trouble := why_not_regular(path):
        raise InputError(f"{path}: cannot be read ({trouble})")
    soundfile = _soundfile()
    try:
        found = soundfile.info(str(path))
    except (RuntimeError, OSError) as error:
        raise InputError(f"{path}: no sound file ({error})") from None
    whole = found.subtype == "PCM_16"
    return Sound(found.samplerate, found.frames, found.channels, whole)


def read(path: Path, dtype: str) -> npt.NDArray[Any]:
    """Return a file's samples, int16 or float32 [n] in [-1, 1]. Raises InputError."""
    soundfile = _soundfile()
    try:
        samples, _ = soundfile.read(str(path), dtype=np.dtype(dtype).name)
    except (RuntimeError, OSError) as error:
        raise InputError(f"{path}: damaged ({error})") from None
    if samples.ndim != 1:
        raise InputError(f"{path}: has {samples.shape[1]} channels, expected one")
    found: npt.NDArray[Any] = samples
    return found
