"""What sets one detector apart from another."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from models.detection.answers import Detections
from models.detection.labels import Labels
from models.detection.preprocess import Resize
from models.published import PublishedFile
from models.sample import SampleFormat
from models.task import Array, Task

if TYPE_CHECKING:
    import torch

    from models.detection.seeding import Heads


class Detector(Task):
    """A detector. Its one part, `network`, maps pixels to scores and box codes of every anchor."""

    sample: SampleFormat
    """Of the pixels that the network sees."""
    resize: Resize
    preprocessing: str
    """Version of the preprocessing, part of the key of prepared samples."""
    normalised_files: bool = False
    """Whether preprocessed images are kept with mean and deviation taken out."""
    labels: Labels
    annotation_files: tuple[str, ...]
    """Where annotations stand in an image folder, when none are given."""
    image_folders: tuple[str, ...]
    """Sub-folders that images may lie in."""
    branches: tuple[str, ...] = ()
    """Ends of the names of layers that end a residual branch."""
    published: tuple[PublishedFile, ...] = ()
    """Weights that `loadrun fetch` gets; the first is MLPerf's reference."""

    @abstractmethod
    def network(self) -> torch.nn.Module:
        """The untrained network.

        It takes normalised images float32 [n, 3, height, width]; it returns a tuple in the order of
        its part's outputs, each [n, height, width, channels].
        """

    @abstractmethod
    def detections(self, outputs: Mapping[str, Array]) -> Detections:
        """Decode the network's outputs for one image; boxes in 0..1."""

    @abstractmethod
    def heads(self) -> Heads:
        """What seeded weights must know of the network's outputs."""
