"""Logarithms of mel energies, three frames to a feature, as MLPerf's RNN-T has them.

Source: mlcommons/inference, retired_benchmarks/speech_recognition/rnnt (parts/features.py,
configs/rnnt.toml); mel filters: Slaney's Auditory Toolbox, as librosa's defaults have them.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FFT = 512
MELS = 80
SPLICED = 3
WIDTH = MELS * SPLICED
"""Values of a feature."""
PREEMPHASIS = 0.97
DITHER = 1e-5
FLOOR = 1e-20
DEVIATION_FLOOR = 1e-5


@dataclass(frozen=True)
class Frames:
    """Framing at a sample rate: windows of 20 ms, one every 10 ms."""

    rate: int = 16_000

    @property
    def window(self) -> int:
        """Samples of a window."""
        return self.rate // 50

    @property
    def hop(self) -> int:
        """Samples from one window to the next."""
        return self.rate // 100

    def features(self, samples: int) -> int:
        """Features of a sound of so many samples."""
        frames = (samples + self.hop - 1) // self.hop
        return (frames + SPLICED - 1) // SPLICED


def extract(wave: Array, frames: Frames) -> Array:
    """Return float32 [features, 240] of a wave float32 [n] in [-1, 1], or its int16 [n].

    Each of the 240 has mean 0 and deviation 1 over the sound.
    """
    if wave.dtype == np.int16:
        wave = wave.astype(np.float32) / np.float32(1 << 15)
    emphasised = np.empty_like(wave)
    emphasised[0] = wave[0]
    np.subtract(wave[1:], np.float32(PREEMPHASIS) * wave[:-1], out=emphasised[1:])
    energies = _mel_energies(emphasised, frames)
    count = frames.features(len(wave))
    spliced = np.zeros((count * SPLICED, MELS), np.float32)
    spliced[: len(energies)] = np.log(energies + np.float32(FLOOR))[: len(spliced)]
    found = spliced.reshape(count, WIDTH)
    found -= found.mean(0, dtype=np.float64).astype(np.float32)
    # With n - 1; of a single feature nothing is known, as in the reference.
    deviation = np.sqrt(np.square(found, dtype=np.float64).sum(0) / max(1, count - 1))
    found /= (deviation + DEVIATION_FLOOR).astype(np.float32)
    return found


def _mel_energies(wave: Array, frames: Frames) -> Array:
    """Return float32 [frames, 80]: a frame's window lies around every hop-th sample."""
    padded = np.pad(wave, FFT // 2, mode="reflect") if len(wave) > FFT // 2 else _short(wave)
    # The window is zero around its middle; where it lies in the FFT changes the phase alone.
    start = (FFT - frames.window) // 2
    windows = np.lib.stride_tricks.sliding_window_view(padded[start:], frames.window)
    count = 1 + len(wave) // frames.hop
    taken = windows[:: frames.hop][:count] * _hann(frames.window)
    spectrum = _spectrum(taken)
    power = np.square(spectrum.real) + np.square(spectrum.imag) + np.float32(DITHER**2)
    energies: Array = power.astype(np.float32) @ mel_filters(frames.rate).T
    return energies


def _spectrum(windows: Array) -> Array:
    """Return complex64 [n, 257] of float32 [n, window]."""
    if (torch := sys.modules.get("torch")) is None:
        return np.fft.rfft(windows, FFT).astype(np.complex64)
    # PyTorch's takes a tenth of the time; it is used where an engine has loaded it anyway.
    found: Array = torch.fft.rfft(torch.from_numpy(windows), FFT).numpy()
    return found


def _short(wave: Array) -> Array:
    """Reflect what is shorter than half of an FFT as often as it takes."""
    return np.pad(wave, FFT // 2, mode="reflect" if len(wave) > 1 else "edge")


@functools.lru_cache
def _hann(window: int) -> Array:
    return np.hanning(window).astype(np.float32)


@functools.lru_cache
def mel_filters(rate: int, fft: int = FFT, mels: int = MELS) -> Array:
    """Return triangular filters float32 [mels, fft / 2 + 1] of equal area, up to half the rate."""
    frequencies = np.linspace(0, rate / 2, fft // 2 + 1)
    edges = _hertz(np.linspace(0, _mel(rate / 2), mels + 2))
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


_LINEAR = 200 / 3
"""Hertz of a mel below 1 kHz."""
_KNEE = 1000.0
_LOG_STEP = np.log(6.4) / 27


def _mel(hertz: float) -> float:
    if hertz < _KNEE:
        return hertz / _LINEAR
    return _KNEE / _LINEAR + float(np.log(hertz / _KNEE) / _LOG_STEP)


def _hertz(mels: Array) -> Array:
    knee = _KNEE / _LINEAR
    above = _KNEE * np.exp(_LOG_STEP * (mels - knee))
    return np.where(mels < knee, mels * _LINEAR, above)
