"""Utterances as LoadGen's samples: waves, each of its own length."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from base.errors import InputError
from base.unchanged import file_digest
from models.librispeech import sounds
from models.librispeech.features import Frames
from models.librispeech.labels import normalised
from models.librispeech.utterances import LONGEST_S, Utterance, find
from models.task import Field

Array = npt.NDArray[Any]
RATE = 16_000


def fields(dtype: str) -> tuple[Field, ...]:
    """What a sample consists of; its wave is int16 or float32 in [-1, 1]."""
    return Field("wave", dtype, (None,)), Field("rate", "<i4", ())


@dataclass(frozen=True)
class Speech:
    """A data set of sound files with transcripts; a sample is its wave, int16 or float32 [n]."""

    name: str
    sha256: str
    files: Sequence[Path]
    texts: Sequence[str]
    frames: Frames
    dtype: str
    synthetic: bool = False
    preparation: str = "speech-2"
    notes: Sequence[str] = ()
    scored: bool = True

    @property
    def fields(self) -> tuple[Field, ...]:
        """The wave, as 16 bits where all files have no more, and its sample rate."""
        return fields(self.dtype)

    @property
    def truth(self) -> str:
        """The transcripts that came with the sounds."""
        return f"of {self.name}"

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> Mapping[str, Array]:
        """Return the samples of a file. Raises InputError."""
        wave = sounds.read(self.files[index], self.dtype)
        return {"wave": wave, "rate": np.array(self.frames.rate, np.int32)}

    def cost(self, sample: Mapping[str, Array]) -> float:
        """Return the number of features, which the encoder's steps follow."""
        return float(self.frames.features(len(sample["wave"])))


def open_speech(path: Path, root: Path | None = None, rate: int = RATE) -> Speech:
    """Return the utterances of a manifest or folder. Raises InputError that names a file.

    What is longer than 15 s is left out, as MLPerf does.
    """
    every = [(one, _checked(one, rate)) for one in find(path, root)]
    found = [(one, sound) for one, sound in every if sound.samples <= LONGEST_S * rate]
    if not found:
        raise InputError(f"{path}: all of its utterances are longer than {LONGEST_S:g} s")
    digest = hashlib.sha256()
    for one, _ in found:
        digest.update(file_digest(one.file) + one.text.encode())
    long = len(every) - len(found)
    return Speech(
        path.stem,
        digest.hexdigest(),
        [one.file for one, _ in found],
        [normalised(one.text) for one, _ in found],
        Frames(rate),
        "<i2" if all(sound.whole for _, sound in found) else "<f4",
        notes=(f"{long} utterances are left out: longer than {LONGEST_S:g} s",) if long else (),
    )


def _checked(one: Utterance, rate: int) -> sounds.Sound:
    sound = sounds.describe(one.file)
    if sound.rate != rate:
        raise InputError(
            f"{one.file}: is sampled at {sound.rate} Hz, the network is for {rate} Hz "
            "(--sample-rate, for a network that was trained on it)"
        )
    if sound.channels != 1:
        raise InputError(f"{one.file}: has {sound.channels} channels, expected one")
    if sound.samples < rate // 50:
        raise InputError(f"{one.file}: has {sound.samples} samples, less than a window of 20 ms")
    if not normalised(one.text):
        raise InputError(f"{one.file}: its transcript {one.text!r} has no letters")
    return sound
