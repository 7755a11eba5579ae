"""The part of a record that says what was served, and with which weights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WeightsRecord:
    """Name, checksum of the content and origin of weights (`launch.build.assets.DataFacts`)."""

    name: str
    sha256: str
    synthetic: bool

    def __str__(self) -> str:
        return f"{self.name} {self.sha256[:8]}"


@dataclass(frozen=True)
class DataRecord(WeightsRecord):
    """The same of a data set of so many samples."""

    samples: int | None = None


@dataclass(frozen=True, kw_only=True)
class AssetsRecord:
    """What was built for a run (`launch.build.assets.Assets`); empty where it did not come so far.

    `calibration` is the name of the images that int8 ranges come from. `notes` are the notices of
    building, then those of loadrun. `synthetic`: weights, data or both are.
    """

    data: DataRecord | None = None
    labels_from: str | None = None
    weights: WeightsRecord | None = None
    calibration: str | None = None
    calibration_sha256: str | None = None
    notes: tuple[str, ...] = ()
    artifact: str | None = None
    synthetic: bool | None = None
