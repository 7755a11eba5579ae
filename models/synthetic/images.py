"""Synthetic images: textures in two colours with shapes over them, drawn from seeds alone.

A class is a pattern in a palette. Its images differ in size, phase, scale, angle, brightness,
shading, noise and in the shapes that hide parts of the pattern, so that images to be evaluated
are of the same kind as those the weights were fitted on, but never the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.sample import Pixels

Field = npt.NDArray[np.float32]

PATTERNS = {"stripes": 20, "checks": 32, "dots": 16, "rings": 26}
"""Patterns and how many pixels they repeat after, about."""
PALETTES = (
    # background, foreground
    ((214, 62, 51), (250, 220, 190)),
    ((48, 96, 200), (235, 235, 120)),
    ((40, 150, 70), (20, 30, 60)),
    ((240, 190, 40), (90, 30, 110)),
    ((130, 60, 170), (160, 230, 220)),
    ((230, 230, 235), (70, 70, 75)),
    ((30, 160, 175), (245, 120, 60)),
    ((110, 70, 40), (235, 150, 190)),
)
CLASSES = len(PATTERNS) * len(PALETTES)
JPEG_QUALITY = 90


def label(kind: int) -> int:
    """Return ImageNet's class for one of the CLASSES kinds; they are spread over 0..999."""
    return kind * 999 // (CLASSES - 1)


def draw(kind: int, seed: int) -> Pixels:
    """Return one image uint8 [height, width, 3] of a kind; equal arguments give equal images."""
    rng = np.random.default_rng((seed, kind))
    height, width = (int(n) for n in rng.integers(248, 344, size=2))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    pattern, palette = list(PATTERNS)[kind % len(PATTERNS)], PALETTES[kind // len(PATTERNS)]
    share = _pattern(pattern, x, y, rng)[..., None]
    back, front = (_jittered(colour, rng) for colour in palette)
    picture = back + (front - back) * share
    for _ in range(int(rng.integers(1, 4))):
        _cover(picture, x, y, rng)
    shading = (
        1
        + rng.uniform(-0.15, 0.15) * (x / width - 0.5)
        + rng.uniform(-0.15, 0.15) * (y / height - 0.5)
    )
    picture *= shading[..., None] * rng.uniform(0.9, 1.1)
    picture += rng.normal(0, 4, size=(height, width, 1)).astype(np.float32)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def write(drawings: Sequence[tuple[Path, int, int]]) -> None:
    """Draw images, given as (path, kind, seed), and write them as JPEG files."""
    for path, kind, seed in drawings:
        Image.fromarray(draw(kind, seed)).save(path, "JPEG", quality=JPEG_QUALITY)


def _pattern(name: str, x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Return how much foreground each pixel shows, 0..1."""
    period = np.float32(PATTERNS[name] * rng.uniform(0.9, 1.1))
    turn = rng.uniform(-0.25, 0.25) + np.pi / 4
    across = np.float32(np.cos(turn)) * x + np.float32(np.sin(turn)) * y
    along = np.float32(np.cos(turn)) * y - np.float32(np.sin(turn)) * x
    phase_a, phase_b = (np.float32(p) for p in rng.uniform(0, 2 * np.pi, size=2))
    step = np.float32(2 * np.pi) / period
    match name:
        case "stripes":
            wave = np.sin(step * across + phase_a)
        case "checks":
            wave = 1.5 * np.sin(step * across + phase_a) * np.sin(step * along + phase_b)
        case "dots":
            wave = np.sin(step * across + phase_a) + np.sin(step * along + phase_b) - 1
        case "rings":
            centre_x, centre_y = rng.uniform(0.2, 0.8, size=2) * (x.shape[1], x.shape[0])
            radius = np.hypot(x - np.float32(centre_x), y - np.float32(centre_y))
            wave = np.sin(step * radius + phase_a) + 0.7
        case _:
            raise ValueError(f"unknown pattern '{name}'")
    share: Field = np.clip(0.5 + 1.5 * wave, 0, 1).astype(np.float32)
    return share


def _cover(picture: Field, x: Field, y: Field, rng: np.random.Generator) -> None:
    """Paint an ellipse of any colour over up to a few percent of the picture."""
    height, width = x.shape
    centre_x, centre_y = rng.uniform(0, width), rng.uniform(0, height)
    radius_x, radius_y = rng.uniform(10, 36, size=2)
    inside = ((x - centre_x) / radius_x) ** 2 + ((y - centre_y) / radius_y) ** 2 < 1
    picture[inside] = rng.uniform(0, 255, size=3)


def _jittered(colour: tuple[int, int, int], rng: np.random.Generator) -> Field:
    return np.asarray(colour, np.float32) + rng.uniform(-12, 12, size=3).astype(np.float32)
