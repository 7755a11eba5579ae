"""What the detectors have in common: data, one network over pixels, decoding, mAP."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import InputError
from models.detection.answers import Detections
from models.detection.labels import Labels
from models.detection.preprocess import Resize
from models.published import PublishedFile
from models.sample import SampleFormat
from models.task import Array, Batch, DataSet, Run, Score, Sources, Task

if TYPE_CHECKING:
    import torch

    from models.detection.seeding import Heads

__all__ = ["DetectionTask", "Resize"]


class DetectionTask(Task):
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

    def data(self, sources: Sources) -> DataSet:
        """The images of a folder with their annotations, or the embedded ones.

        Options: `annotations`, a file in COCO's format; `pixels`, `u8` (the default) or `f32`,
        which keeps what scaling leaves of fractions, as the reference has them, in four times the
        memory. Raises InputError.
        """
        from models.detection.data import image_data

        if sources.data is None:
            from models.detection.synthetic import synthetic_data

            return synthetic_data(self, sources)  # type: ignore[return-value]
        return image_data(self, sources)  # type: ignore[return-value]

    def graph(self, part: str, weights: Path | None) -> torch.nn.Module:
        """The network over pixels, with the weights of a file or, for None, seeded ones."""
        from models.detection.weights import load_weights
        from models.pixels import OverPixels

        if weights is None:
            from models.detection.synthetic import seeded_network

            return OverPixels(seeded_network(self), self.sample).eval()
        return OverPixels(load_weights(self, weights), self.sample).eval()

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Sequence[Array]:
        """Rows of seven numbers for each sample; of no bytes where nothing was found."""
        outputs = run["network"](image=batch.views("image"))
        return [
            self.detections({name: values[i] for name, values in outputs.items()}).answer(index)
            for i, index in enumerate(batch.indices)
        ]

    def score(self, answers: Mapping[int, bytes], data: DataSet) -> Score:
        """MAP in percent over the images that were answered. Raises InputError without a truth."""
        from models.detection.data import Judged
        from models.detection.score import mean_average_precision

        if not isinstance(data, Judged):
            raise TypeError(f"{data!r} is no data set of detection")
        if not answers:
            raise InputError("no sample was answered: nothing to score")
        truth = data.annotations_of(sorted(answers))
        return mean_average_precision(answers, truth, data.image_ids, self.labels, data.categories)
