"""Scans in NIfTI files (nibabel, the extra `volumes`)."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import InputError
from base.files import why_not_regular
from models.packages import installing_extra
from models.task import Array

EXTRA = installing_extra("volumes")
ENDINGS = (".nii.gz", ".nii")


class Scan:
    """A NIfTI file of one volume: its header is read now, its voxels when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Open a file. Raises InputError."""
        self.path = path
        if trouble := why_not_regular(path):
            raise InputError(f"{path}: {trouble}")
        try:
            import nibabel
        except ImportError:
            raise InputError(f"{path}: reading NIfTI needs nibabel: {EXTRA}") from None
        try:
            image: Any = nibabel.load(path)
            self._stored: Any = image.dataobj
            self.shape: tuple[int, ...] = tuple(image.shape)
            self.spacing: tuple[float, ...] = tuple(map(float, image.header["pixdim"][1:4]))
        except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError, KeyError,
                zlib.error, IndexError, TypeError) as error:  # fmt: skip
            raise InputError(f"{path}: not a NIfTI file ({_first(error)})") from None
        if len(self.shape) != 3:
            raise InputError(f"{path}: has shape {list(self.shape)}, expected one volume of three")

    def voxels(self, dtype: type[np.generic]) -> Array:
        """All voxels, scaled as the header says, in one array of this type. Raises InputError."""
        try:
            # The stored integers where they can be: nibabel scales in float64, four times as much.
            plain = self._stored.slope == 1 and self._stored.inter == 0
            array = self._stored.get_unscaled() if plain else np.asarray(self._stored)
            return np.ascontiguousarray(array.astype(dtype))
        except (OSError, EOFError, ValueError, zlib.error, AttributeError) as error:
            raise InputError(f"{self.path}: a damaged NIfTI file ({_first(error)})") from None


def existing(folder: Path, name: str) -> Path | None:
    """The NIfTI file of this name without its ending, compressed or not; None where none is."""
    return next((p for end in ENDINGS if (p := folder / f"{name}{end}").is_file()), None)


def names(folder: Path) -> list[str]:
    """Names of the NIfTI files of a folder, without their endings, in order."""
    found = set()
    for path in folder.iterdir():
        for ending in ENDINGS:
            if path.name.endswith(ending) and not path.name.startswith("."):
                found.add(path.name.removesuffix(ending))
    return sorted(found)


def _first(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
