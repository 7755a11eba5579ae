"""What the detectors have in common: data, one network over pixels, decoding, mAP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import InputError
from models.detection.detector import Detector
from models.detection.preprocess import Resize
from models.task import Array, Batch, DataSet, Run, Score, Sources

if TYPE_CHECKING:
    import torch


__all__ = ["DetectionTask", "Resize"]


class DetectionTask(Detector):
    """A detector's data, networks, answers and score."""

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
