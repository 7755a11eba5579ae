"""The embedded default: the full-size network with seeded weights, on seeded sounds.

Lengths are distributed as LibriSpeech's. Sounds are voiced and unvoiced stretches of changing pitch
and colour. The weights of the last layers are scaled so that the decoder spells about as many
letters a second as English has; the truth is the float32 network's own transcripts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.distributions import LIBRISPEECH_SECONDS
from models.librispeech.dataset import RATE

if TYPE_CHECKING:
    pass

Array = npt.NDArray[Any]

VERSION = 1
"""Changes with anything that changes sounds, weights or truth."""
COUNT = 256


def lengths(count: int = COUNT) -> Array:
    """Return samples of each sound: int64 [count]."""
    return (LIBRISPEECH_SECONDS.draw(count, VERSION) * RATE).astype(np.int64)


def sound(index: int, samples: int) -> Array:
    """Return a seeded sound int16 [samples]: stretches of 40 to 200 ms, voiced, hissed or silent."""
    random = np.random.default_rng([VERSION, index])
    wave = np.zeros(samples, np.float32)
    at = 0
    pitch = random.uniform(90, 220)
    while at < samples:
        length = min(int(random.uniform(0.04, 0.2) * RATE), samples - at)
        kind = random.choice(3, p=(0.6, 0.25, 0.15))
        time = np.arange(length, dtype=np.float32) / RATE
        loudness = 10 ** random.uniform(-1.6, -0.6)
        if kind == 0:
            pitch = float(np.clip(pitch * random.uniform(0.9, 1.1), 80, 300))
            formants = random.uniform((250, 800, 2000), (900, 2500, 3500))
            harmonics = np.arange(1, int(4000 / pitch))
            gains = sum(np.exp(-(((harmonics * pitch - f) / 180) ** 2)) for f in formants) + 0.01
            tones = np.sin(2 * np.pi * pitch * harmonics[:, None] * time)
            piece = (gains[:, None] * tones).sum(0) * loudness
        elif kind == 1:
            noise = random.standard_normal(length).astype(np.float32)
            piece = np.diff(noise, prepend=noise[:1]) * loudness * 0.3
        else:
            piece = np.zeros(length, np.float32)
        wave[at : at + length] = piece * np.hanning(length)
        at += length
    wave += random.standard_normal(samples).astype(np.float32) * np.float32(1e-3)
    return np.clip(wave * (1 << 14), -32768, 32767).astype("<i2")
