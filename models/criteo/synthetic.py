"""The embedded default: a full-size DLRM with seeded weights, on seeded pairs.

Tables are capped (as by the reference's --max-ind-range), so that all of them take 2 GB in float32.
Indices follow Zipf's law, as clicks on few favourites do. The truth is drawn from the float32
network's own probabilities: the area under its curve is a real number, and what int8 loses of it
is measured.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from base.files import folder_written_aside, locked
from models.criteo import aggregate
from models.criteo.rows import ArrayRows, Block, logarithms
from models.criteo.shapes import DENSE, MULTIHOT, TERABYTE_40M
from models.mapped import npy
from models.ranking import Shape
from models.workers import Progress, silent

if TYPE_CHECKING:
    from models.criteo.network import DLRM

Array = npt.NDArray[Any]

VERSION = 2
"""Changes with anything that changes weights, pairs or truth."""
CAP = 480_000
CALIBRATION_ROWS = 4096
MEAN_LOGIT, SPREAD = -3.0, 1.5
"""What the last layer is scaled to: about 1 click in 12."""
ZIPF = 1.1
"""Exponent of the distribution of indices."""
_TRUTH_ROWS = 4096


@dataclass(frozen=True)
class Seeded:
    """A seeded network of a published shape, its tables capped, and how many samples it gets."""

    name: str
    published: Shape
    samples: int

    @property
    def shape(self) -> Shape:
        """The network's: at most CAP rows a table."""
        return self.published.capped(CAP)

    @property
    def digest(self) -> str:
        """SHA-256 that stands for weights, pairs and truth."""
        return hashlib.sha256(f"{VERSION} {self}".encode()).hexdigest()

    def offsets(self) -> Array:
        """The first row of each sample, by MLPerf's rule, and the number of rows."""
        longest = max(aggregate.QUANTILES)
        return aggregate.by_quantiles(self.samples * longest)[: self.samples + 1]

    def rows(self, cache: Path, progress: Progress = silent) -> ArrayRows:
        """The pairs and their truth, drawn into the cache unless they are there."""
        folder = cache / "criteo" / f"synthetic-{self.name}-{self.digest[:16]}"
        if not folder.is_dir():
            with locked(folder):
                if not folder.is_dir():
                    pairs = draw(self.shape, int(self.offsets()[-1]), 3)
                    clicked = truth(network(self.shape), pairs, progress)
                    with folder_written_aside(folder) as aside:
                        for name, array in (*pairs._asdict().items(), ("clicked", clicked)):
                            np.save(aside / f"{name}.npy", array)
        files = [folder / f"{name}.npy" for name in ("dense", "sparse", "clicked")]
        lying = [npy(file) for file in files]
        return ArrayRows(files, lying[0], [lying[1]], lying[2], len(lying[0]))


V1 = Seeded("dlrm", TERABYTE_40M, 384)
V2 = Seeded("dlrm-v2", MULTIHOT, 96)


def draw(shape: Shape, count: int, seed: int) -> Block:
    """Return `count` seeded pairs: counts as Criteo's, many zeros and a long tail."""
    random = np.random.default_rng([VERSION, seed])
    integers = np.floor(random.lognormal(1.0, 1.5, (count, DENSE)))
    integers *= random.random((count, DENSE)) > 0.3
    uniform = random.random((count, shape.lookups))
    rows = np.repeat(np.array(shape.rows, np.float64), shape.hot)
    # The inverse of a continuous power law on [1, rows + 1).
    power = 1 - ZIPF
    drawn = (1 + uniform * ((rows + 1) ** power - 1)) ** (1 / power) - 1
    return Block(logarithms(integers), np.minimum(drawn, rows - 1).astype(np.int32))


def network(shape: Shape) -> DLRM:
    """Return the seeded float32 network, in evaluation mode, its logits scaled on drawn pairs."""
    import torch

    from models.criteo.network import DLRM

    built: DLRM = DLRM(shape).eval()
    random = np.random.default_rng([VERSION, 0])
    with torch.inference_mode():
        for layer in built.modules():
            if isinstance(layer, torch.nn.Linear):
                wide, narrow = layer.weight.shape
                weight = random.standard_normal((wide, narrow), np.float32)
                layer.weight.copy_(torch.from_numpy(weight * np.float32((2 / narrow) ** 0.5)))
                if layer.bias is not None:
                    layer.bias.zero_()
        # Of the size of what they are multiplied with, so that neither side drowns the other.
        tables = random.standard_normal((sum(shape.rows), shape.width), np.float32)
        tables *= np.repeat(np.float32(shape.width**-0.25 / np.sqrt(shape.hot)), shape.rows).astype(
            np.float32
        )[:, None]
        built.tables.weight = torch.from_numpy(tables)
        pairs = draw(shape, CALIBRATION_ROWS, 1)
        logits = built(*map(torch.from_numpy, pairs))
        last = built.top_l[-1]
        factor = SPREAD / logits.std()
        last.weight *= factor
        last.bias += MEAN_LOGIT - logits.mean() * factor
    return built


def truth(built: DLRM, pairs: Block, progress: Progress = silent) -> Array:
    """Draw whether each pair is clicked, with the network's probabilities: uint8 [n]."""
    import torch

    logits = np.empty(len(pairs.dense), np.float32)
    with torch.inference_mode():
        for at in range(0, len(logits), _TRUTH_ROWS):
            part = slice(at, at + _TRUTH_ROWS)
            dense, sparse = (
                torch.from_numpy(pairs.dense[part]),
                torch.from_numpy(pairs.sparse[part]),
            )
            logits[part] = built(dense, sparse).numpy()
            progress(at, len(logits))
    random = np.random.default_rng([VERSION, 2])
    return (random.random(len(logits)) < 1 / (1 + np.exp(-logits.astype(np.float64)))).astype(
        np.uint8
    )
