"""KiTS19 as MLPerf prepares it: from the scans, or from the reference's preprocessed pickles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import InputError, quoted
from models.task import Array
from models.volumes.data import Pairs
from models.volumes.dice import Quality, by_class, counts, mean_over
from models.volumes.nifti import EXTRA, Scan, existing
from models.volumes.pickles import read_pickle
from models.volumes.windows import SIDE, STRIDE, Shape

SPACING = (1.6, 1.2, 1.2)
"""Millimetres of a voxel, after resampling."""
LOWEST, HIGHEST = -79.0, 304.0
"""Intensities are cut off below and above."""
MEAN, DEVIATION = 101.0, 76.9
OUTSIDE = -2.2
"""Intensity of what is added around a volume, after normalisation."""
CLASSES = ("kidney", "tumor")
LIST = "preprocessed_files.pkl"
IMAGE, LABEL = "imaging", "segmentation"
COPY = {"case_00400": "case_00185"}
"""A case that is a copy of another one, which makes the set large enough for early stopping."""


def _cases(numbers: str) -> tuple[str, ...]:
    return tuple(f"case_{number:0>5}" for number in numbers.split())


INFERENCE = _cases(
    "0 3 5 6 12 24 34 41 44 49 52 56 61 65 66 70 76 78 80 84 86 87 92 111 112 125 128 138 157 160 "
    "161 162 169 171 176 185 187 189 198 203 206 207 400"
)
"""MLPerf's cases, in its order."""
CALIBRATION = _cases("50 117 172 149 91 147 144 100 90 196 183 130 136 47 73 141 53 148 81 150")


def resampled_shape(shape: Sequence[int], spacing: Sequence[float]) -> Shape:
    """Shape after resampling to SPACING."""
    depth, height, width = (
        round(size * zoom) for size, zoom in zip(shape, _zoom(spacing), strict=True)
    )
    return depth, height, width


def fitted_shape(shape: Sequence[int]) -> Shape:
    """Shape after `fitted`."""
    sizes = []
    for size in shape:
        size = max(size, SIDE)
        over = size % STRIDE
        sizes.append(size - over if over < STRIDE // 2 else size - over + STRIDE)
    return sizes[0], sizes[1], sizes[2]


def fitted(volume: Array, outside: float) -> Array:
    """A volume that windows cover: at least 128 a side, and a multiple of 64.

    Short sides are filled up with what is at their edges; then less than half a stride is cut off,
    or more than that filled up with `outside`; half of it before, rounded down.
    """
    short = [max(0, SIDE - size) for size in volume.shape]
    if any(short):
        volume = np.pad(volume, [(n // 2, n - n // 2) for n in short], mode="edge")
    over = [size % STRIDE for size in volume.shape]
    cut = [n if n < STRIDE // 2 else 0 for n in over]
    volume = volume[
        tuple(slice(n // 2, size - (n - n // 2)) for n, size in zip(cut, volume.shape, strict=True))
    ]
    missing = [-size % STRIDE for size in volume.shape]
    if any(missing):
        around = [(n // 2, n - n // 2) for n in missing]
        volume = np.pad(volume, around, constant_values=outside)
    return np.ascontiguousarray(volume)


def resampled(volume: Array, spacing: Sequence[float], order: int, path: Path) -> Array:
    """The volume at SPACING: linear for `order` 1, nearest for 0."""
    if tuple(spacing) == SPACING:
        return volume
    try:
        from scipy import ndimage
    except ImportError:
        raise InputError(f"{path}: resampling needs scipy: {EXTRA}") from None
    found: Array = ndimage.zoom(
        volume, _zoom(spacing), order=order, mode="constant", cval=volume.min(), grid_mode=False
    )
    return found


def normalised(image: Array) -> Array:
    """Intensities cut off and scaled, in place."""
    np.clip(image, LOWEST, HIGHEST, out=image)
    image -= np.float32(MEAN)
    image /= np.float32(DEVIATION)
    return image


def _zoom(spacing: Sequence[float]) -> Any:
    return np.array(spacing, np.float64) / np.array(SPACING)


class _Segmented(ABC):
    """What sources of KiTS19 have in common: one channel, an answer of the volume's shape."""

    channels = 1

    @abstractmethod
    def truth(self, case: str) -> Array:
        """The true classes, uint8 [D, H, W]."""

    def has_truth(self, case: str) -> bool:
        """Always, with the volume."""
        return True

    @abstractmethod
    def shape(self, case: str) -> Shape:
        """Of the prepared volume."""

    def pairs(self, case: str, response: bytes) -> Pairs:
        """Voxels by (answered class, true class)."""
        predicted = volume_of(case, response, self.shape(case))
        return counted(case, predicted, self.truth(case), len(CLASSES) + 1)

    def quality(self, cases: Sequence[Pairs]) -> Quality:
        """DICE of kidney and tumor."""
        return mean_over(cases, CLASSES, by_class)


@dataclass(frozen=True)
class RawKits19(_Segmented):
    """Scans as the challenge publishes them: case_XXXXX/imaging.nii.gz, segmentation.nii.gz."""

    folder: Path
    preparation: str = "kits19-1"

    def files(self, case: str) -> list[Path]:
        """The scan and its segmentation."""
        case = COPY.get(case, case)
        found = [existing(self.folder / case, name) for name in (IMAGE, LABEL)]
        if found[0] is None:
            raise InputError(f"{self.folder / case}: no {IMAGE}.nii.gz")
        return [path for path in found if path is not None]

    def has_truth(self, case: str) -> bool:
        """Whether a segmentation lies beside the scan."""
        return len(self.files(case)) == 2

    def shape(self, case: str) -> Shape:
        """Of the prepared volume, by the scan's header."""
        scan = Scan(self.files(case)[0])
        return fitted_shape(resampled_shape(scan.shape, scan.spacing))

    def image(self, case: str) -> Array:
        """The prepared volume, float32 [1, D, H, W]."""
        path = self.files(case)[0]
        scan = Scan(path)
        image = resampled(scan.voxels(np.float32), scan.spacing, 1, path)
        return fitted(normalised(image), OUTSIDE)[None]

    def truth(self, case: str) -> Array:
        """The true classes, uint8 [D, H, W]."""
        files = self.files(case)
        if len(files) < 2:
            raise InputError(f"{files[0].parent}: no {LABEL}.nii.gz: nothing to score against")
        # The scan's own header says how it was resampled.
        spacing = Scan(files[0]).spacing
        return fitted(resampled(Scan(files[1]).voxels(np.uint8), spacing, 0, files[1]), 0)


@dataclass(frozen=True)
class PreparedKits19(_Segmented):
    """The reference's pickles: case_XXXXX.pkl, each [image, label], and their list."""

    folder: Path
    shapes: tuple[tuple[str, Shape], ...]
    """Cases in LoadGen's order."""
    preparation: str = "kits19-pickles-1"

    def files(self, case: str) -> list[Path]:
        """The pickle."""
        return [self.folder / f"{case}.pkl"]

    def shape(self, case: str) -> Shape:
        """Of the volume, by the list."""
        return dict(self.shapes)[case]

    def image(self, case: str) -> Array:
        """The volume, float32 [1, D, H, W]."""
        image = self._held(case)[0]
        return np.ascontiguousarray(image, np.float32)

    def truth(self, case: str) -> Array:
        """The true classes, uint8 [D, H, W]."""
        return np.asarray(self._held(case)[1][0], np.uint8)

    def _held(self, case: str) -> list[Array]:
        (path,) = self.files(case)
        held = read_pickle(path)
        expected = (1, *self.shape(case))
        if not (
            isinstance(held, list)
            and len(held) == 2
            and all(isinstance(each, np.ndarray) and each.shape == expected for each in held)
        ):
            raise InputError(f"{path}: expected image and label, each {list(expected)}")
        return held


def prepared(folder: Path) -> PreparedKits19:
    """The pickles of a folder. Raises InputError for a list that is none."""
    path = folder / LIST
    held = read_pickle(path)
    try:
        cases = [(str(case), tuple(map(int, held["cases"][case]["image_shape"][1:])))
                 for case in held["file_list"]]  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{path}: not KiTS19's list of preprocessed cases ({quoted(error)})"
        ) from None
    if not cases:
        raise InputError(f"{path}: lists no cases")
    for case, shape in cases:
        if "/" in case or case.startswith("."):
            raise InputError(f"{path}: {quoted(case)} is no case")
        if len(shape) != 3 or any(size < SIDE or size % STRIDE for size in shape):
            raise InputError(
                f"{path}: {case} has shape {list(shape)}; windows need multiples of {STRIDE}, "
                f"at least {SIDE}"
            )
    return PreparedKits19(folder, tuple(cases))  # type: ignore[arg-type]


def raw_folder(path: Path) -> Path | None:
    """The folder in which cases lie, at a path that users give; None where there are none."""
    for folder in (path, path / "data", path / "kits19" / "data"):
        if any(existing(case, IMAGE) for case in folder.glob("case_*")):
            return folder
    return None


def present(folder: Path, wanted: Sequence[str]) -> tuple[str, ...]:
    """Those of MLPerf's cases that a folder has, or all its cases where it has none of them."""
    held = {case.name for case in folder.glob("case_*") if existing(case, IMAGE)}
    chosen = tuple(case for case in wanted if COPY.get(case, case) in held)
    return chosen or tuple(sorted(held))


def volume_of(case: str, response: bytes, shape: Shape) -> Array:
    """An answer as a volume of classes. Raises InputError where it is none."""
    voxels = shape[0] * shape[1] * shape[2]
    if len(response) != voxels:
        raise InputError(
            f"{case}: an answer of {len(response):,} bytes, its volume {list(shape)} "
            f"has {voxels:,} voxels: the log was made from other data"
        )
    return np.frombuffer(response, np.uint8).reshape(shape)


def counted(case: str, predicted: Array, truth: Array, classes: int) -> Pairs:
    """Voxels by (answered class, true class). Raises InputError for what does not fit."""
    if predicted.shape != truth.shape:
        raise InputError(
            f"{case}: its segmentation is {list(truth.shape)}, its volume {list(predicted.shape)}"
        )
    try:
        return counts(predicted, truth, classes)
    except ValueError as error:
        raise InputError(f"{case}: {error}, in the answer or the segmentation") from None
