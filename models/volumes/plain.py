"""Other volumes with segmentations: `images/` and `labels/` with files of the same names.

The layout of the Medical Segmentation Decathlon, for networks of KiTS19's structure that were
trained on something else. Each volume is normalised by itself and filled up with zeros at the ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from base.errors import InputError
from models.task import Array
from models.volumes.data import Pairs
from models.volumes.dice import Quality, by_class, mean_over
from models.volumes.kits19 import counted, volume_of
from models.volumes.nifti import Scan, existing, names
from models.volumes.windows import SIDE, STRIDE, Shape

FOLDERS = (("images", "labels"), ("imagesTr", "labelsTr"))
CLASSES = 2
"""Beside the background."""


@dataclass(frozen=True)
class Labelled:
    """NIfTI files of one channel."""

    images: Path
    labels: Path
    multiple: int
    """What sides of a window must be multiples of."""
    channels: int = 1

    @property
    def preparation(self) -> str:
        """Names what `image` makes of the files."""
        return f"volumes-1-{self.multiple}"

    def files(self, case: str) -> list[Path]:
        """The scan and its segmentation."""
        found = [existing(folder, case) for folder in (self.images, self.labels)]
        if found[0] is None:
            raise InputError(f"{self.images}: no {case}.nii.gz")
        return [path for path in found if path is not None]

    def shape(self, case: str) -> Shape:
        """Of the prepared volume, by the scan's header."""
        return _filled(Scan(self.files(case)[0]).shape, self.multiple)

    def has_truth(self, case: str) -> bool:
        """Whether there is a segmentation of the same name."""
        return len(self.files(case)) > 1

    def image(self, case: str) -> Array:
        """The prepared volume, float32 [1, D, H, W]."""
        image = Scan(self.files(case)[0]).voxels(np.float32)
        mean, deviation = image.mean(dtype=np.float64), image.std(dtype=np.float64)
        image = ((image - mean) / (deviation or 1.0)).astype(np.float32)
        wanted = _filled(image.shape, self.multiple)
        ends = [(0, side - size) for side, size in zip(wanted, image.shape, strict=True)]
        return np.ascontiguousarray(np.pad(image, ends))[None]

    def pairs(self, case: str, response: bytes) -> Pairs:
        """Voxels by (answered class, true class), without what was filled up."""
        files = self.files(case)
        if len(files) < 2:
            raise InputError(f"{self.labels}: no {case}.nii.gz: nothing to score against")
        truth = Scan(files[1]).voxels(np.uint8)
        size = Scan(files[0]).shape
        predicted = volume_of(case, response, self._answered(size, len(response)))
        inside = predicted[tuple(slice(side) for side in size)]
        return counted(case, inside, truth, CLASSES + 1)

    def quality(self, cases: Sequence[Pairs]) -> Quality:
        """DICE of each class."""
        return mean_over(cases, [f"class {c + 1}" for c in range(CLASSES)], by_class)

    def _answered(self, shape: Sequence[int], voxels: int) -> Shape:
        """The shape of an answer of so many voxels.

        How far it was filled up depended on the network, which is not known where it is scored.
        Each power of two gives another number of voxels, or the same shape.
        """
        wide = [_filled(shape, 1 << power) for power in range(SIDE.bit_length())]
        fitting = (each for each in wide if each[0] * each[1] * each[2] == voxels)
        return next(fitting, _filled(shape, self.multiple))


def _filled(shape: Sequence[int], multiple: int) -> Shape:
    """A shape that windows cover, whose sides divide by `multiple` at least."""
    depth, height, width = (size + -size % (multiple if size <= SIDE else STRIDE) for size in shape)
    return depth, height, width


def labelled(path: Path, multiple: int) -> tuple[Labelled, tuple[str, ...]] | None:
    """The source at a path and its cases; None where the layout is another one."""
    for images, labels in FOLDERS:
        if (path / images).is_dir():
            cases = tuple(names(path / images))
            if not cases:
                raise InputError(f"{path / images}: holds no .nii.gz files")
            return Labelled(path / images, path / labels, multiple), cases
    return None
