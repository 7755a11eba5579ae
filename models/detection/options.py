"""What the detectors' data need beyond their images."""

from __future__ import annotations

import argparse

from base.options import Option

PIXELS = ("u8", "f32")


def _pixels(text: str) -> str:
    if text not in PIXELS:
        raise argparse.ArgumentTypeError(f"'{text}' is unknown (known: {', '.join(PIXELS)})")
    return text


OPTIONS = (
    Option(
        "--annotations FILE",
        "objects in the images, in COCO's JSON; default: where their data sets have it",
        path="file",
        variable="LOADRUN_ANNOTATIONS",
        of_data="annotations",
    ),
    Option(
        "--pixels TYPE",
        "samples as u8 (default), or f32: fractions as the reference scales them, in four times the"
        " memory, not for int8",
        parse=_pixels,
        names=lambda: PIXELS,
    ),
)
