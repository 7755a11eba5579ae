"""The embedded default: images and weights that are made on the spot, with nothing downloaded.

Accuracy on them is a real number, measured on images that no weight was fitted on, but says
nothing about ImageNet: everything that rests on them is called `synthetic`.
"""

from models.synthetic.assets import SyntheticAssets, build

__all__ = ["SyntheticAssets", "build"]
