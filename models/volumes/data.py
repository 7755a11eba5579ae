"""Volumes in LoadGen's order, whatever they are read from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from base.unchanged import file_digest
from models.task import Array, Field
from models.volumes import windows
from models.volumes.dice import Quality

Pairs = NDArray[np.int64]


class Source(Protocol):
    """Where volumes come from, by the names of their cases. Picklable: it keeps paths alone.

    Methods raise InputError that names the file and what is wrong with it.
    """

    @property
    def preparation(self) -> str:
        """Names what `image` makes of the files, with a version."""
        ...

    @property
    def channels(self) -> int:
        """Of a volume."""
        ...

    def files(self, case: str) -> Sequence[Path]:
        """What a case and its truth are read from."""
        ...

    def shape(self, case: str) -> windows.Shape:
        """Of the prepared volume, found without its voxels."""
        ...

    def image(self, case: str) -> Array:
        """The prepared volume, float32 [channels, D, H, W]."""
        ...

    def has_truth(self, case: str) -> bool:
        """Whether a case has a segmentation that answers can be scored by."""
        ...

    def pairs(self, case: str, response: bytes) -> Pairs:
        """Voxels by (answered class, true class)."""
        ...

    def quality(self, cases: Sequence[Pairs]) -> Quality:
        """DICE of cases."""
        ...


@dataclass(frozen=True)
class Volumes:
    """Cases of a source (`models.task.DataSet`). A sample is one volume of its own shape."""

    name: str
    source: Source
    cases: tuple[str, ...]
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    whole: bool = False
    """Whether each goes through the network at once, whatever its size."""

    @cached_property
    def sha256(self) -> str:
        """Of the files, and of the preparation's version."""
        digest = hashlib.sha256(f"{self.source.preparation} {self.cases}".encode())
        for case in self.cases:
            for path in self.source.files(case):
                try:
                    digest.update(file_digest(path))
                except OSError as error:
                    raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        return digest.hexdigest()

    @property
    def fields(self) -> tuple[Field, ...]:
        """The volume."""
        return (Field("image", "<f4", (self.source.channels, None, None, None)),)

    @property
    def preparation(self) -> str:
        """The source's."""
        return self.source.preparation

    @cached_property
    def _without_truth(self) -> tuple[str, ...]:
        return tuple(case for case in self.cases if not self.source.has_truth(case))

    @property
    def truth(self) -> str:
        """Where segmentations come from, or which case has none."""
        if self.synthetic:
            return "what was drawn"
        if not self._without_truth:
            return "beside the volumes"
        first, *others = self._without_truth
        return f"{first} has none" + (f", and {len(others)} more" if others else "")

    @property
    def scored(self) -> bool:
        """Whether each case has a segmentation."""
        return not self._without_truth

    def __len__(self) -> int:
        return len(self.cases)

    def read(self, index: int) -> Mapping[str, Array]:
        """Prepare one volume: no other is in memory."""
        return {"image": self.source.image(self.cases[index])}

    def cost(self, sample: Mapping[str, Array]) -> float:
        """How many windows it has."""
        return 1.0 if self.whole else float(windows.count(sample["image"].shape[1:]))

    def judge(self, answers: Mapping[int, bytes]) -> Quality:
        """DICE of the answered volumes. Raises InputError without any."""
        if not answers:
            raise InputError("no sample was answered: nothing to score")
        return self.source.quality(
            [self.source.pairs(self.cases[index], answers[index]) for index in sorted(answers)]
        )


@dataclass(frozen=True)
class Windows:
    """Some windows of some volumes (`models.task.DataSet`): what int8 ranges are taken from.

    `chosen` are (volume's index in `volumes`, window's share of the way through the volume).
    """

    volumes: Volumes
    chosen: tuple[tuple[int, float], ...]

    @property
    def name(self) -> str:
        """As the whole's."""
        return self.volumes.name

    @property
    def sha256(self) -> str:
        """Of the whole's content, and of the choice."""
        return hashlib.sha256(f"{self.volumes.sha256} {self.chosen}".encode()).hexdigest()

    @property
    def fields(self) -> tuple[Field, ...]:
        """A window."""
        return self.volumes.fields

    @property
    def synthetic(self) -> bool:
        """As the whole's."""
        return self.volumes.synthetic

    @property
    def preparation(self) -> str:
        """As the whole's, cut."""
        return f"{self.volumes.preparation}-windows-1"

    @property
    def notes(self) -> Sequence[str]:
        """As the whole's."""
        return self.volumes.notes

    @property
    def truth(self) -> str:
        """Windows are no set to be scored."""
        return "windows of its volumes were chosen"

    @property
    def scored(self) -> bool:
        """No."""
        return False

    def __len__(self) -> int:
        return len(self.chosen)

    def read(self, index: int) -> Mapping[str, Array]:
        """Prepare a volume and cut one window of it."""
        volume, share = self.chosen[index]
        image = self.volumes.read(volume)["image"]
        shape = image.shape[1:]
        places = list(windows.corners(shape))
        corner = places[min(int(share * len(places)), len(places) - 1)]
        return {"image": np.ascontiguousarray(windows.cut(image, corner))}

    def cost(self, sample: Mapping[str, Array]) -> float:
        """One window."""
        return 1.0


def spread_windows(volumes: Volumes, most: int) -> Windows:
    """At most `most` windows, from as many volumes as there are, near the middle of each first."""
    used = min(len(volumes), most)
    each = -(-most // used)
    chosen = []
    for turn in range(each):
        # 1/2, then 1/4, 3/4, ...: the scanned body is in the middle.
        share = (0.5, 0.25, 0.75, 0.375, 0.625, 0.125, 0.875)[turn % 7]
        chosen += [(place * len(volumes) // used, share) for place in range(used)]
    return Windows(volumes, tuple(dict.fromkeys(chosen[:most])))
