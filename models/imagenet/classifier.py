"""What the ImageNet classifiers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.imagenet.preprocess import decode
from models.model import Logits, Model
from models.sample import Pixels


@dataclass(frozen=True)
class Classifier(Model):
    """An ImageNet classifier: answers each sample with one int32, the class of 0..999."""

    label_offset: int = field(kw_only=True)
    """Added to the index of the largest output: -1 where output 0 is the background."""
    square: Callable[[Image.Image], Pixels] = field(kw_only=True)
    """Scales an RGB image and cuts out the pixels the network sees."""

    def preprocess(self, path: Path) -> Pixels:
        """Return the sample uint8 [*sample.shape] of an image file. Raises InputError."""
        return self.sample.bordered(self.square(decode(path)))

    def postprocess(self, logits: Logits) -> tuple[npt.NDArray[np.int32], int]:
        """Return the class int32 [n] of logits float32 [n, classes], and the 4 bytes of each."""
        return np.argmax(logits, axis=1).astype(np.int32) + np.int32(self.label_offset), 4
