"""BraTS 2019 as nnU-Net prepares it for MLPerf: from the scans, or from the reference's pickles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from base.errors import InputError, quoted
from models.task import Array
from models.volumes.data import Pairs
from models.volumes.dice import BRATS_REGIONS, Quality, by_region, mean_over
from models.volumes.kits19 import LIST, counted
from models.volumes.nifti import EXTRA, Scan, existing, names
from models.volumes.pickles import read_pickle
from models.volumes.windows import Shape, largest

SHAPE: Shape = (224, 224, 160)
"""Of a prepared volume."""
CLASSES = 4
MODALITIES = ("t1", "t1ce", "t2", "flair")
GRADES = ("HGG", "LGG")
SEGMENTATION = "seg"
OF_LABEL = np.array([0, 2, 1, 0, 3], np.uint8)
"""Class by the challenge's label: 2 is edema, 1 the non-enhancing core, 4 the enhancing tumor."""
EPSILON = 1e-8
"""Added to standard deviations."""
NNUNET = ("imagesTr", "labelsTr")
"""Folders of nnU-Net's own layout, whose labels are classes already."""
SLACK = 0.05
"""Millimetres by which a voxel may differ from 1."""


def brain(scans: Array) -> Array:
    """Where any channel [4, D, H, W] has a signal, holes filled: bool [D, H, W]."""
    from scipy import ndimage

    found: Array = ndimage.binary_fill_holes(scans.any(0))
    return found


def box(mask: Array) -> tuple[slice, slice, slice]:
    """The smallest box around what is True, or all where nothing is."""
    found = []
    for axis in range(3):
        line = np.flatnonzero(mask.any(tuple(other for other in range(3) if other != axis)))
        found.append(slice(int(line[0]), int(line[-1]) + 1) if len(line) else slice(0, None))
    return found[0], found[1], found[2]


def normalised(scans: Array, mask: Array) -> Array:
    """Each channel minus its mean, over its standard deviation, of what is True; 0 elsewhere."""
    out = np.zeros(scans.shape, np.float32)
    for channel, scan in zip(out, scans, strict=True):
        seen = scan[mask]
        channel[mask] = (seen - seen.mean()) / (seen.std() + EPSILON)
    return out


def margins(shape: Sequence[int]) -> list[tuple[int, int]]:
    """What is added on both sides of each axis; raises ValueError for what is too large."""
    missing = [target - size for target, size in zip(SHAPE, shape, strict=True)]
    if min(missing) < 0:
        raise ValueError(f"a head of {list(shape)} voxels does not fit into {list(SHAPE)}")
    return [(n // 2, n - n // 2) for n in missing]


class _Regions:
    """What sources of BraTS have in common: four channels, an answer of logits."""

    channels = len(MODALITIES)

    def shape(self, case: str) -> Shape:
        """Of the prepared volume: always the same."""
        return SHAPE

    def quality(self, cases: Sequence[Pairs]) -> Quality:
        """DICE of BraTS's regions."""
        return mean_over(cases, list(BRATS_REGIONS), by_region)


@dataclass(frozen=True)
class RawBrats(_Regions):
    """Scans, in one of two layouts.

    The challenge's: HGG/<case>/<case>_t1.nii.gz, ... and LGG/...; a case is named HGG__<case>.
    nnU-Net's (`nnunet`): imagesTr/<name>_0000.nii.gz ... _0003, labelsTr/<name>.nii.gz.
    """

    folder: Path
    nnunet: bool
    preparation: str = "brats-1"

    def files(self, case: str) -> list[Path]:
        """Four scans, and the segmentation where there is one."""
        if self.nnunet:
            images, labels = (self.folder / name for name in NNUNET)
            wanted = [(images, f"{case}_{number:04}") for number in range(len(MODALITIES))]
            truth = existing(labels, case)
        else:
            grade, _, name = case.partition("__")
            images = self.folder / grade / name
            wanted = [(images, f"{name}_{modality}") for modality in MODALITIES]
            truth = existing(images, f"{name}_{SEGMENTATION}")
        found = [existing(*place) for place in wanted]
        for path, (place, name) in zip(found, wanted, strict=True):
            if path is None:
                raise InputError(f"{place}: no {name}.nii.gz")
        return [path for path in (*found, truth) if path is not None]

    def has_truth(self, case: str) -> bool:
        """Whether a segmentation lies beside the scans."""
        return len(self.files(case)) > len(MODALITIES)

    def image(self, case: str) -> Array:
        """The prepared volume, float32 [4, 224, 224, 160]."""
        scans, mask, _ = self._cropped(case)
        return np.pad(normalised(scans, mask), [(0, 0), *self._margins(case, mask.shape)])

    def pairs(self, case: str, response: bytes) -> Pairs:
        """Voxels by (answered class, true class), in the scan's own box."""
        files = self.files(case)
        if len(files) == len(MODALITIES):
            raise InputError(f"{case}: no segmentation in {files[0].parent}: nothing to score")
        labels = _turned(Scan(files[-1]).voxels(np.uint8))
        if not self.nnunet:
            if labels.max(initial=0) >= len(OF_LABEL):
                raise InputError(f"{files[-1]}: has labels beyond 4, expected 0, 1, 2 and 4")
            labels = OF_LABEL[labels]
        _, mask, place = self._cropped(case)
        predicted = np.zeros_like(labels)
        predicted[place] = segmented(case, response, self._margins(case, mask.shape))
        return counted(case, predicted, labels, CLASSES)

    def _cropped(self, case: str) -> tuple[Array, Array, tuple[slice, slice, slice]]:
        paths = self.files(case)[: len(MODALITIES)]
        opened = [Scan(path) for path in paths]
        for scan in opened:
            if scan.shape != opened[0].shape:
                raise InputError(f"{scan.path}: shape {scan.shape}, others have {opened[0].shape}")
            if max(abs(size - 1) for size in scan.spacing) > SLACK:
                raise InputError(
                    f"{scan.path}: voxels of {scan.spacing} mm, BraTS's have 1: not registered"
                )
        scans = np.stack([_turned(scan.voxels(np.float32)) for scan in opened])
        try:
            mask = brain(scans)
        except ImportError:
            raise InputError(f"{paths[0]}: finding the head needs scipy: {EXTRA}") from None
        place = box(mask)
        return scans[(slice(None), *place)], mask[place], place

    def _margins(self, case: str, shape: Sequence[int]) -> list[tuple[int, int]]:
        try:
            return margins(shape)
        except ValueError as error:
            raise InputError(f"{case}: {error}") from None


@dataclass(frozen=True)
class PreparedBrats(_Regions):
    """The reference's pickles, each [array, properties], and their list; labels as nnU-Net's."""

    folder: Path
    labels: Path | None
    preparation: str = "brats-pickles-1"

    def files(self, case: str) -> list[Path]:
        """The pickle, and the segmentation where there is one."""
        truth = existing(self.labels, case) if self.labels else None
        return [self.folder / f"{case}.pkl", *([truth] if truth else [])]

    def has_truth(self, case: str) -> bool:
        """Whether there is a segmentation."""
        return len(self.files(case)) > 1

    def image(self, case: str) -> Array:
        """The volume, float32 [4, 224, 224, 160]."""
        path, held = self._held(case)
        expected = (self.channels, *SHAPE)
        if not isinstance(held[0], np.ndarray) or held[0].shape != expected:
            raise InputError(f"{path}: expected a volume of {list(expected)}")
        return np.ascontiguousarray(held[0], np.float32)

    def pairs(self, case: str, response: bytes) -> Pairs:
        """Voxels by (answered class, true class), in the scan's own box."""
        files = self.files(case)
        if len(files) < 2:
            raise InputError(
                f"{case}: no segmentation; give --segmentations labelsTr of nnU-Net's folder"
            )
        labels = _turned(Scan(files[1]).voxels(np.uint8))
        path, (_, properties) = self._held(case)
        try:
            place = tuple(slice(int(a), int(b)) for a, b in properties["crop_bbox"])
            around = margins([int(size) for size in properties["size_after_cropping"]])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: no box that was cropped to ({quoted(error)})") from None
        predicted = np.zeros_like(labels)
        inside = segmented(case, response, around)
        if predicted[place].shape != inside.shape:
            raise InputError(f"{path}: its box does not fit {files[1].name}")
        predicted[place] = inside
        return counted(case, predicted, labels, CLASSES)

    def _held(self, case: str) -> tuple[Path, list[Array]]:
        path = self.folder / f"{case}.pkl"
        held = read_pickle(path)
        if not isinstance(held, list) or len(held) != 2 or not isinstance(held[1], dict):
            raise InputError(f"{path}: expected a volume and its properties")
        return path, held


def segmented(case: str, response: bytes, around: Sequence[tuple[int, int]]) -> Array:
    """The classes of an answer's logits (float16), without margins. Raises InputError."""
    expected = 2 * CLASSES * SHAPE[0] * SHAPE[1] * SHAPE[2]
    if len(response) != expected:
        raise InputError(
            f"{case}: an answer of {len(response):,} bytes, expected float16 logits "
            f"{[CLASSES, *SHAPE]}, {expected:,} bytes"
        )
    logits = np.frombuffer(response, "<f2").reshape(CLASSES, *SHAPE)
    inside = tuple(
        slice(before, size - after) for (before, after), size in zip(around, SHAPE, strict=True)
    )
    cropped = logits[(slice(None), *inside)]
    found = np.empty(cropped.shape[1:], np.uint8)
    for plane, out in enumerate(found):
        largest(cropped[:, plane].astype(np.float32), out)
    return found


def raw(path: Path) -> tuple[RawBrats, tuple[str, ...]] | None:
    """The source at a path and its cases in order; None where there are no scans."""
    if (path / NNUNET[0]).is_dir():
        found = sorted({name.rpartition("_")[0] for name in names(path / NNUNET[0])})
        return RawBrats(path, nnunet=True), tuple(found)
    for folder in (path, path / "MICCAI_BraTS_2019_Data_Training"):
        cases = [
            f"{grade}__{case.name}"
            for grade in GRADES
            for case in sorted((folder / grade).glob("*"))
            if existing(case, f"{case.name}_{MODALITIES[0]}")
        ]
        if cases:
            return RawBrats(folder, nnunet=False), tuple(cases)
    return None


def prepared(folder: Path, labels: Path | None) -> tuple[PreparedBrats, tuple[str, ...]]:
    """The pickles of a folder and their cases. Raises InputError for a list that is none."""
    path = folder / LIST
    held = read_pickle(path)
    if not isinstance(held, list) or not held or not all(isinstance(case, str) for case in held):
        raise InputError(f"{path}: not BraTS's list of preprocessed cases")
    for case in held:
        if "/" in case or case.startswith("."):
            raise InputError(f"{path}: {quoted(case)} is no case")
    beside = (labels, folder / NNUNET[1], folder.parent / NNUNET[1])
    return PreparedBrats(folder, next((p for p in beside if p and p.is_dir()), None)), tuple(held)


def _turned(volume: Array) -> Array:
    """As nnU-Net reads a scan: z, y, x."""
    return np.ascontiguousarray(volume.transpose(2, 1, 0))
