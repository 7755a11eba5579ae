"""3D U-Net as tasks: a volume's classes through a sliding window, or a whole volume's logits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from base.errors import InputError
from models.errors import WeightsError
from models.published import DataFolder, PublishedFile
from models.task import (
    VOLUMES,
    Answers,
    Batch,
    Benchmark,
    DataSet,
    Field,
    Part,
    Run,
    Score,
    Sources,
    Task,
    spread,
)
from models.volumes import brats, brats_cases, folders, kits19, plain, windows
from models.volumes.data import Source, Volumes, spread_windows
from models.volumes.widths import BRATS, KITS19, Widths

if TYPE_CHECKING:
    import torch

    from models.volumes.architecture import Architecture

NETWORK = "network"
CALIBRATION_WINDOWS = 8
"""Of as many cases: each takes as long as a window in float32, and ranges settle after few."""
CALIBRATION_VOLUMES = 4
"""The same where they go through the network as a whole."""


def _benchmarks(
    name: str, reference: float, samples: int, performance: int, offline: int, last_round: str
) -> tuple[Benchmark, ...]:
    return tuple(
        Benchmark(
            name=f"{name}-{percent}",
            # LoadGen finds the set's concatenated permutations under this key, too.
            conf="3d-unet",
            metric="DICE",
            reference=reference,
            share=share,
            scenarios=("Offline", "SingleStream"),
            samples=samples,
            performance_samples=performance,
            offline_samples=offline,
            audits=("TEST01",),
            audit_samples=64,
            edge=last_round,
            datacenter=last_round,
            official=f"3d-unet-{percent}",
        )
        for percent, share in (("99", 0.99), ("99.9", 0.999))
    )


@dataclass(frozen=True)
class _UNet(Task):
    """What both have in common. Widths other than the published ones come from the weights."""

    name: str
    title: str
    benchmarks: tuple[Benchmark, ...]
    answer_bytes: int
    widths: Widths
    published: tuple[PublishedFile, ...]
    dataset: DataFolder
    aliases: tuple[str, ...] = ()
    unit: str = "windows"
    items: str = "volumes"
    truths: str = "segmentations"
    stepwise: bool = True

    @property
    @abstractmethod
    def architecture(self) -> Architecture:
        """The network's, whatever its widths (imports torch)."""

    @abstractmethod
    def volumes(self, path: Path, wanted: tuple[str, ...], sources: Sources) -> Volumes:
        """The volumes at a path; of MLPerf's cases `wanted`. Raises InputError."""

    inference: tuple[str, ...] = ()
    calibrating: tuple[str, ...] = ()
    """MLPerf's cases, by name."""

    def data(self, sources: Sources) -> DataSet:
        """The volumes at `sources.data`, or the embedded ones. Raises InputError."""
        if sources.data is None:
            from models.volumes.synthetic import synthetic

            return synthetic(self, sources.cache or Path())
        return self.volumes(sources.data, self.inference, sources)

    def calibration(self, sources: Sources) -> DataSet:
        """Some of the calibration cases: of `sources.calibration`, else of the served set.

        Windows of them, or whole volumes, as the network is given. MLPerf's calibration cases where
        they are there, else others.
        """
        path = sources.calibration or sources.data
        if path is None:
            from models.volumes.synthetic import calibrating

            volumes = calibrating(self, sources.cache or Path())
        else:
            volumes = self.volumes(path, self.calibrating, sources)
        if volumes.whole:
            return spread(volumes, CALIBRATION_VOLUMES)
        return spread_windows(volumes, CALIBRATION_WINDOWS)

    def weights(self, sources: Sources) -> Path | None:
        """The user's weights, or the embedded ones."""
        if sources.weights is not None:
            return sources.weights
        from models.volumes.synthetic import weights_file

        return weights_file(self, sources.cache or Path())

    def embed(self, sources: Sources, progress: Callable[[int, int], None]) -> None:
        """Make the embedded weights, where none are given."""
        if sources.weights is None:
            from models.volumes.synthetic import embed

            embed(self, sources.cache or Path(), progress)

    def fitting(self, weights: Path) -> Task:
        """The task with a network of the weights' widths. Raises WeightsError."""
        from models.volumes.weights import widths_in

        widths, ours = widths_in(self.architecture, weights), self.widths
        if (widths.inputs, widths.classes) != (ours.inputs, ours.classes):
            raise WeightsError(
                f"{weights}: makes {widths.classes} classes of {widths.inputs} channels; "
                f"{self.title} has {ours.classes} of {ours.inputs}"
            )
        return self if widths == ours else replace(self, widths=widths)

    def graph(self, part: str, weights: Path | None) -> torch.nn.Module:
        """The network in float32. Raises WeightsError."""
        if weights is None:
            from models.volumes.synthetic import seeded

            return seeded(self)
        from models.volumes.weights import load_network

        return load_network(self.architecture, weights)

    def sizes(self, weights: Path | None) -> Mapping[str, Any]:
        """The network's channels."""
        if weights is None:
            return asdict(self.widths)
        from models.volumes.weights import widths_in

        return asdict(widths_in(self.architecture, weights))

    def skeleton(self, part: str, sizes: Mapping[str, Any]) -> torch.nn.Module:
        """The network of these channels, without weights."""
        widths = Widths(**{**sizes, "levels": tuple(sizes["levels"])})
        return self.architecture.make(widths).eval()

    def score(self, answers: Mapping[int, bytes], data: DataSet) -> Score:
        """Mean DICE in percent, and MLPerf's line. Raises InputError."""
        assert isinstance(data, Volumes)
        quality = data.judge(answers)
        return Score(100 * quality.mean, quality.line, quality.cases)


@dataclass(frozen=True)
class Kits19Task(_UNet):
    """KiTS19: windows of 128 voxels a side; the answer is the class of every voxel."""

    # Of any shape: volumes that are smaller than a window are one.
    parts: tuple[Part, ...] = (
        Part(
            NETWORK,
            (Field("image", "<f4", (KITS19.inputs, None, None, None)),),
            (Field("logits", "<f4", (None, None, None, None)),),
            form=VOLUMES,
        ),
    )

    @property
    def architecture(self) -> Architecture:
        """mlcommons/training's Unet3D."""
        from models.volumes import architecture

        return architecture.KITS19

    def volumes(self, path: Path, wanted: tuple[str, ...], sources: Sources) -> Volumes:
        """Scans, pickles, or images and labels of other volumes. Raises InputError."""
        if (path / kits19.LIST).is_file():
            prepared = kits19.prepared(path)
            return Volumes(path.name, prepared, tuple(case for case, _ in prepared.shapes))
        if folder := kits19.raw_folder(path):
            return _some("KiTS19", kits19.RawKits19(folder), kits19.present(folder, wanted), wanted)
        # Windows of the published network have one shape.
        multiple = windows.SIDE if self.widths == KITS19 else self.widths.multiple
        if found := plain.labelled(path, multiple):
            return Volumes(path.name, *found)
        raise InputError(
            f"{path}: no volumes: expected case_XXXXX/imaging.nii.gz (KiTS19's data), "
            f"{kits19.LIST} (MLPerf's preprocessing), or images/ and labels/"
        )

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Answers:
        """The class of every voxel, uint8 [D, H, W] a sample."""
        return windows.segment(run[NETWORK], batch.views("image"))

    def longest_answer(self, largest: Mapping[str, int]) -> int:
        """A byte for each voxel of the largest volume, of float32."""
        return largest["image"] // 4


@dataclass(frozen=True)
class BratsTask(_UNet):
    """BraTS 2019: the whole volume at once; the answer is its logits."""

    parts: tuple[Part, ...] = (
        Part(
            NETWORK,
            (Field("image", "<f4", (BRATS.inputs, None, None, None)),),
            (Field("logits", "<f2", (BRATS.classes, None, None, None)),),
            form=VOLUMES,
        ),
    )

    @property
    def architecture(self) -> Architecture:
        """nnU-Net's Generic_UNet."""
        from models.volumes import architecture

        return architecture.BRATS

    def volumes(self, path: Path, wanted: tuple[str, ...], sources: Sources) -> Volumes:
        """Scans in the challenge's or nnU-Net's layout, or pickles. Raises InputError."""
        if (path / kits19.LIST).is_file():
            labels = (sources.options or {}).get("segmentations")
            prepared = brats.prepared(path, Path(labels) if labels else None)
            return Volumes(path.name, *prepared, whole=True)
        if found := brats.raw(path):
            source, cases = found
            chosen = tuple(case for case in wanted if case in set(cases))
            return replace(_some("BraTS 2019", source, chosen or cases, wanted), whole=True)
        raise InputError(
            f"{path}: no volumes: expected HGG/ and LGG/ with folders of cases (BraTS's data), "
            f"imagesTr/ (nnU-Net's), or {kits19.LIST} (MLPerf's preprocessing)"
        )

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Answers:
        """Logits float16 [4, 224, 224, 160] a sample."""
        # One by one: a volume's activations take gigabytes, and its logits hold until the next.
        network, views = run[NETWORK], batch.views("image")
        found = []
        for number, view in enumerate(views, start=1):
            (logits,) = network(image=[view])["logits"]
            found.append(logits if number == len(views) else np.array(logits))
        return found


def _some(name: str, source: Source, cases: tuple[str, ...], wanted: tuple[str, ...]) -> Volumes:
    if cases == wanted:
        return Volumes(name, source, cases)
    there = len(set(cases) & set(wanted))
    note = f"{there} of MLPerf's {len(wanted)} cases are there"
    note += "" if there else ": all others are taken"
    return Volumes(f"{name} ({len(cases)} cases)", source, cases, notes=(note,))


def _zenodo(record: int, name: str, what: str, md5: str | None = None) -> PublishedFile:
    url = f"https://zenodo.org/record/{record}/files/{name}"
    api = None if md5 else f"https://zenodo.org/api/records/{record}"
    return PublishedFile(name, url, what, f"md5:{md5}" if md5 else None, api)


UNET_KITS19 = Kits19Task(
    name="3d-unet",
    title="3D U-Net, KiTS19",
    aliases=("3d-unet-kits19", "unet", "3dunet", "unet3d", "kits19"),
    benchmarks=_benchmarks("3d-unet", 86.170, 43, 0, 43, "v2.0-v6.1"),
    answer_bytes=320 * 448 * 448,
    widths=KITS19,
    inference=kits19.INFERENCE,
    calibrating=kits19.CALIBRATION,
    dataset=folders.KITS19,
    published=(
        _zenodo(
            5597155,
            "3dunet_kits19_pytorch_checkpoint.pth",
            "MLPerf's reference in float32, mean DICE 0.86170",
            "09c696e3ec13d83c628498bcd831eb5b",
        ),
        _zenodo(
            5597155,
            "3dunet_kits19_pytorch.ptc",
            "the same as TorchScript",
            "2251109371f408c9f10a4320ffdcaef8",
        ),
        _zenodo(
            5597155,
            "3dunet_kits19_128x128x128_dynbatch.onnx",
            "the same as ONNX",
            "82f0618fde78f9839e7c712274019b4a",
        ),
        _zenodo(
            5597155, "3dunet_kits19_128x128x128.onnx", "the same as ONNX, one window at a time"
        ),
    ),
)
UNET_BRATS = BratsTask(
    name="3d-unet-brats",
    title="3D U-Net, BraTS 2019",
    aliases=("3d-unet-brats19", "brats", "brats19"),
    benchmarks=_benchmarks("3d-unet-brats", 85.300, 67, 16, 24_576, "v1.1"),
    answer_bytes=2 * brats.CLASSES * int(np.prod(brats.SHAPE)),
    widths=BRATS,
    inference=brats_cases.INFERENCE,
    calibrating=brats_cases.CALIBRATION,
    dataset=folders.BRATS,
    published=(
        _zenodo(3928973, "224_224_160.onnx", "MLPerf's reference as ONNX, mean DICE 0.85300"),
        _zenodo(3928973, "224_224_160_dyanmic_bs.onnx", "the same for any batch size"),
        _zenodo(3904106, "fold_1.zip", "nnU-Net's checkpoint, to be unzipped"),
    ),
)
