"""The embedded default: full-size networks with seeded weights, on seeded volumes.

Volumes are drawn when they are asked for: bodies with kidneys and tumours in them, heads with
tumours, in shapes of the real sets. All layers are seeded but the last one, which is fitted to
what they make of other seeded volumes, so that logits have margins as a trained network's have.
The truth is what was drawn: DICE is a real number, and says nothing about patients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from base.files import locked, written_aside
from models.task import Array
from models.volumes import brats, kits19, windows
from models.volumes.data import Pairs, Volumes
from models.volumes.dice import BRATS_REGIONS, Quality, by_class, by_region, mean_over
from models.volumes.widths import Widths
from models.volumes.windows import Shape

if TYPE_CHECKING:
    import torch

    from models.volumes.architecture import Architecture

VERSION = 1
"""Changes with anything that changes volumes, truth or weights."""
SERVED: dict[str, tuple[Shape, ...]] = {
    # 8, 16, 16 and 27 windows; the real ones have 8 to 144, 64 on average.
    "3d-unet": ((192, 192, 192), (128, 320, 320), (128, 320, 320), (256, 256, 256)),
    "3d-unet-brats": (brats.SHAPE,) * 4,
}
CALIBRATING: dict[str, tuple[Shape, ...]] = {
    "3d-unet": ((192, 192, 192), (128, 320, 320)),
    "3d-unet-brats": (brats.SHAPE,) * 2,
}
FITTED: dict[str, tuple[Shape, ...]] = {
    "3d-unet": ((192, 192, 192),),
    # A smaller head, and all of it: what a channel's norm sees is the same.
    "3d-unet-brats": ((96, 96, 64),),
}
FITTED_WINDOWS = 4
FITTED_VOXELS = 40_000
"""Of each class and window, at most."""
RARE = 0.75
"""Power of a class's share of all voxels that it counts by: 0 all alike, 1 as often as it is."""
BEYOND_SERVED, BEYOND_CALIBRATING = 100, 200
"""First numbers of volumes that are not served."""
Mask = NDArray[np.bool_]
Progress = Callable[[int, int], None]


class Seedable(Protocol):
    """What of a task its volumes and weights depend on."""

    @property
    def name(self) -> str:
        """The task's."""
        ...

    @property
    def widths(self) -> Widths:
        """Of its network."""
        ...

    @property
    def architecture(self) -> Architecture:
        """Of its network."""
        ...


@dataclass(frozen=True)
class Drawn:
    """Seeded volumes; a case's name is its number (`models.volumes.data.Source`)."""

    task: str
    shapes: tuple[Shape, ...]
    first: int

    @property
    def preparation(self) -> str:
        """Names what is drawn."""
        return f"{self.task}-drawn-{VERSION}-{self.first}-{self.shapes}"

    @property
    def channels(self) -> int:
        """Of a volume."""
        return len(brats.MODALITIES) if self.heads else 1

    def files(self, case: str) -> list[Path]:
        """None: nothing is read."""
        return []

    def shape(self, case: str) -> Shape:
        """Of the volume."""
        return self.shapes[int(case) - self.first]

    def image(self, case: str) -> Array:
        """The volume, float32 [channels, D, H, W]."""
        return self.drawn(case)[0]

    def drawn(self, case: str) -> tuple[Array, Array]:
        """The volume, and its classes, uint8 [D, H, W]."""
        random = np.random.default_rng([VERSION, int(case)])
        return (head if self.heads else body)(self.shape(case), random)

    def has_truth(self, case: str) -> bool:
        """Always: what was drawn."""
        return True

    def pairs(self, case: str, response: bytes) -> Pairs:
        """Voxels by (answered class, true class)."""
        truth = self.drawn(case)[1]
        if self.heads:
            predicted = brats.segmented(case, response, [(0, 0)] * 3)
            return kits19.counted(case, predicted, truth, brats.CLASSES)
        predicted = kits19.volume_of(case, response, truth.shape)  # type: ignore[arg-type]
        return kits19.counted(case, predicted, truth, len(kits19.CLASSES) + 1)

    def quality(self, cases: Sequence[Pairs]) -> Quality:
        """DICE as of the real set."""
        if self.heads:
            return mean_over(cases, list(BRATS_REGIONS), by_region)
        return mean_over(cases, kits19.CLASSES, by_class)

    @property
    def heads(self) -> bool:
        """Whether heads are drawn, not bodies."""
        return self.task == "3d-unet-brats"


def synthetic(task: Seedable, cache: Path) -> Volumes:
    """The volumes that are served."""
    return _volumes(task, SERVED[task.name], 0)


def calibrating(task: Seedable, cache: Path) -> Volumes:
    """Others, that int8 ranges are taken from."""
    return _volumes(task, CALIBRATING[task.name], BEYOND_SERVED)


def _volumes(task: Seedable, shapes: tuple[Shape, ...], first: int) -> Volumes:
    cases = tuple(str(first + number) for number in range(len(shapes)))
    drawn = Drawn(task.name, shapes, first)
    return Volumes("synthetic", drawn, cases, synthetic=True, whole=drawn.heads)


def body(shape: Shape, random: np.random.Generator) -> tuple[Array, Array]:
    """A scan of a body, normalised, with two kidneys and a tumour at one of them."""
    labels = np.zeros(shape, np.uint8)
    image = np.full(shape, -79.0, np.float32)  # fat, and what is cut off
    image[_ellipsoid(shape, (0.5, 0.5, 0.5), (0.7, 0.42, 0.46))] = 30.0
    image[_ellipsoid(shape, (0.35, 0.35, 0.3), (0.3, 0.18, 0.2))] = 60.0  # the liver
    for side in (-1, 1):
        middle = np.array([0.55, 0.6, 0.5 + side * 0.2]) + random.uniform(-0.03, 0.03, 3)
        size = np.array([0.16, 0.09, 0.08]) * random.uniform(0.9, 1.1, 3)
        kidney = _ellipsoid(shape, middle, size)
        image[kidney], labels[kidney] = 150.0, 1
    tumour = _ellipsoid(
        shape, middle + np.array([0.08, -0.05, 0.03]), random.uniform(0.06, 0.09, 3)
    )
    image[tumour], labels[tumour] = 290.0, 2
    image += _smooth(shape, 8, random) * np.float32(6)
    image += random.standard_normal(shape, np.float32) * np.float32(5)
    return kits19.normalised(image)[None], labels


def head(shape: Shape, random: np.random.Generator) -> tuple[Array, Array]:
    """Four scans of a head, normalised, with a tumour of three parts in one another."""
    inside = _ellipsoid(shape, (0.5, 0.5, 0.5), (0.34, 0.42, 0.44))
    middle = np.array([0.5, 0.5, 0.5]) + random.uniform(-0.12, 0.12, 3)
    labels = np.zeros(shape, np.uint8)
    for number, size in ((1, 0.16), (2, 0.1), (3, 0.06)):
        labels[_ellipsoid(shape, middle, size * random.uniform(0.85, 1.15, 3)) & inside] = number
    # By channel (t1, t1ce, t2, flair): brain, edema, core, enhancing.
    levels = np.array(
        [[100, 85, 60, 80], [100, 90, 70, 180], [80, 140, 150, 110], [80, 160, 110, 130]]
    )
    image = np.zeros((len(levels), *shape), np.float32)
    for channel, level in zip(image, levels.astype(np.float32), strict=True):
        channel += level[labels] + _smooth(shape, 8, random) * np.float32(6)
        channel += random.standard_normal(shape, np.float32) * np.float32(5)
    return brats.normalised(image, inside), labels


def _ellipsoid(
    shape: Shape, middle: Sequence[float] | Array, radii: Sequence[float] | Array
) -> Mask:
    """Where an ellipsoid is, its middle and radii as shares of the sides."""
    axes = [
        (((np.arange(size, dtype=np.float32) + 0.5) / size - place) / radius) ** 2
        for size, place, radius in zip(shape, middle, radii, strict=True)
    ]
    found: Mask = axes[0][:, None, None] + axes[1][:, None] + axes[2] < 1
    return found


def _smooth(shape: Shape, cells: int, random: np.random.Generator) -> Array:
    """A random field that changes slowly: linear between `cells` points a side."""
    field: Array = random.standard_normal((cells, cells, cells), np.float32)
    for axis, size in enumerate(shape):
        at = np.linspace(0, cells - 1, size, dtype=np.float32)
        below = np.minimum(at.astype(np.intp), cells - 2)
        share = (at - below).reshape([-1 if other == axis else 1 for other in range(3)])
        low, high = (np.take(field, below + step, axis) for step in (0, 1))
        field = (low + (high - low) * share).astype(np.float32)
    return field


def seeded(task: Seedable) -> torch.nn.Module:
    """The network with seeded weights in all layers."""
    from models.volumes.networks import seed

    network = task.architecture.make(task.widths).eval()
    seed(network, VERSION)
    return network


def weights_file(task: Seedable, cache: Path) -> Path:
    """Where the embedded weights are, once `embed` has made them."""
    return cache / "volumes" / f"{task.name}-seeded-{VERSION}.pth"


def embed(task: Seedable, cache: Path, progress: Progress) -> None:
    """Seed the network and fit its last layer, unless that was done."""
    path = weights_file(task, cache)
    if path.is_file():
        return
    with locked(path):
        if path.is_file():
            return
        import torch

        network = seeded(task)
        fit(task, network, progress)
        with written_aside(path) as aside:
            torch.save(network.state_dict(), aside)


def fit(task: Seedable, network: Any, progress: Progress) -> None:
    """Fit the last layer of a network to drawn volumes, by logistic regression."""
    import torch

    last = _last(network)
    seen: list[torch.Tensor] = []
    hook = last.register_forward_hook(lambda module, given, output: seen.append(given[0]))
    features, classes = [], []
    total = np.zeros(task.widths.classes)
    random = np.random.default_rng([VERSION, 0])
    try:
        cut = list(_fitting_windows(task))
        progress(0, len(cut))
        for number, (image, truth) in enumerate(cut):
            with torch.inference_mode():
                network(torch.from_numpy(image)[None])
            found = seen.pop()[0].flatten(1)
            for label in range(task.widths.classes):
                places = np.flatnonzero(truth.ravel() == label)
                total[label] += len(places)
                places = random.permutation(places)[:FITTED_VOXELS]
                features.append(found[:, torch.from_numpy(places)].T.clone())
                classes.append(torch.full((len(places),), label))
            progress(number + 1, len(cut))
    finally:
        hook.remove()
    _regress(last, torch.cat(features), torch.cat(classes), torch.from_numpy(total).float())


def _fitting_windows(task: Seedable) -> Any:
    drawn = _volumes(task, FITTED[task.name], BEYOND_CALIBRATING)
    for case in drawn.cases:
        image, truth = drawn.source.drawn(case)  # type: ignore[attr-defined]
        places = list(windows.corners(truth.shape))
        # Windows of both sides: the tumour is at one kidney alone.
        chosen = [n * len(places) // FITTED_WINDOWS + n % 2 for n in range(FITTED_WINDOWS)]
        for corner in dict.fromkeys(places[min(n, len(places) - 1)] for n in chosen):
            yield (
                np.ascontiguousarray(windows.cut(image, corner)),
                np.ascontiguousarray(windows.cut(truth[None], corner)[0]),
            )


def _last(network: Any) -> Any:
    """The layer that makes the logits."""
    heads = getattr(network, "seg_outputs", None)
    return network.output.conv[0] if heads is None else heads[-1]


def _regress(last: Any, features: torch.Tensor, classes: torch.Tensor, total: torch.Tensor) -> None:
    import torch

    mean, deviation = features.mean(0), features.std(0) + 1e-6
    if last.bias is None:
        mean = torch.zeros_like(mean)
    scaled = (features - mean) / deviation
    weight = torch.zeros(last.weight.shape[0], scaled.shape[1], requires_grad=True)
    bias = torch.zeros(len(weight), requires_grad=True)
    seen = torch.bincount(classes, minlength=len(weight)).clamp(min=1)
    share = (total / total.sum()) ** RARE / seen
    share = share / share.max()
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = scaled @ weight.T
        if last.bias is not None:
            logits = logits + bias
        value = (
            torch.nn.functional.cross_entropy(logits, classes, share) + 1e-5 * weight.square().sum()
        )
        value.backward()
        return value

    optimiser.step(loss)
    with torch.no_grad():
        weight /= deviation
        last.weight.copy_(weight.reshape(last.weight.shape))
        if last.bias is not None:
            last.bias.copy_(bias - weight @ mean)
