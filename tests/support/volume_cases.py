"""Small volumes and 3D U-Nets for tests."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.task import Array
from models.volumes.networks import GenericUNet, Unet3D, seed
from models.volumes.widths import Widths

SHARED_DATA = Path(
    os.environ.get("LOADRUN_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
)
SMALL = Widths((16, 32, 32), inputs=1, classes=3)
SMALL_BRATS = Widths((16, 32, 48), inputs=4, classes=4)


@dataclass
class Views:
    """A batch of volumes, as `Task.infer` is given it."""

    volumes: Sequence[Array]

    def views(self, field: str) -> list[Array]:
        """The volumes."""
        assert field == "image"
        return list(self.volumes)


def kits19_network() -> Any:
    """A small seeded network of KiTS19's structure."""
    network = Unet3D(SMALL).eval()
    seed(network, 1)
    return network


def brats_network() -> Any:
    """A small seeded network of BraTS's structure."""
    network = GenericUNet(SMALL_BRATS).eval()
    seed(network, 1)
    return network


def running(network: Any) -> Any:
    """What runs windows through a network in float32."""

    def run(image: Sequence[Array]) -> dict[str, Array]:
        with torch.inference_mode():
            return {"logits": network(torch.from_numpy(np.stack(image))).numpy()}

    return run


def noise(*shape: int, number: int = 0) -> Array:
    """Smooth random numbers, float32: neighbours are alike, as in scans."""
    values = np.random.default_rng(number).standard_normal(shape).astype(np.float32)
    for axis in range(1, len(shape)):
        values = (values + np.roll(values, 1, axis) + np.roll(values, 2, axis)) / np.float32(1.7)
    return values


def scans(folder: Path, shapes: Sequence[tuple[int, int, int]]) -> None:
    """Write scans with segmentations, as `models.volumes.plain` reads them (nibabel)."""
    nibabel: Any = importlib.import_module("nibabel")
    for place in ("images", "labels"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for number, shape in enumerate(shapes):
        image = noise(1, *shape, number=number)[0]
        labels = (image > 0.5).astype(np.uint8) + (image > 1.5)
        for place, voxels in (("images", image), ("labels", labels)):
            scan = nibabel.Nifti1Image(voxels, np.eye(4))
            nibabel.save(scan, folder / place / f"scan_{number}.nii")
