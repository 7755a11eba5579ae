"""What the detectors have in common: data, one network over pixels, decoding, mAP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import InputError
from models.detection.detector import Detector
from models.detection.preprocess import Resize
from models.task import Array, Batch, DataSet, Run, Score, Sources, spread

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import torch


__all__ = ["DetectionTask", "Resize"]


LARGE = 512 * 512
"""Pixels of a sample from which fewer are calibrated on: each takes seconds."""
CALIBRATED_ON, CALIBRATED_ON_LARGE = 200, 32
"""Images of a folder that int8 ranges are taken from; of a list it is all."""


class DetectionTask(Detector):
    """A detector's data, networks, answers and score."""

    unit = items = "images"
    truths = "annotations"

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

    def calibration(self, sources: Sources) -> DataSet:
        """The images that int8 ranges are taken from. Raises InputError.

        A folder of them, a list of some of `sources.data`, else with weights of the user's the
        served ones, else drawn ones.
        """
        if (sources.options or {}).get("pixels") == "f32":
            raise InputError(
                "--pixels f32: int8 takes pixels of 8 bits: leave it out, or choose --precision "
                "fp32 or bf16"
            )
        from models.detection.data import image_data, listed_data, unjudged

        given = sources.calibration
        if given is not None and given.is_file():
            return listed_data(self, sources, given)  # type: ignore[return-value]
        if given is None and (sources.data is None or sources.weights is None):
            from models.detection.synthetic import synthetic_calibration

            return synthetic_calibration(self, sources)  # type: ignore[return-value]
        large = self.sample.height * self.sample.width > LARGE
        found = unjudged(self, sources, given) if given else image_data(self, sources)
        return spread(
            found,  # type: ignore[arg-type]
            CALIBRATED_ON_LARGE if large else CALIBRATED_ON,
        )

    def weights(self, sources: Sources) -> Path | None:
        """The user's, or the seeded ones, in the cache."""
        if sources.weights is not None or sources.cache is None:
            return sources.weights
        from models.detection.synthetic import seeded_weights

        return seeded_weights(self, sources.cache)

    def embed(self, sources: Sources, progress: Callable[[int, int], None]) -> None:
        """Make the seeded weights, and have the network find what is in the drawn images."""
        self.weights(sources)
        if sources.data is None:
            from models.detection.synthetic import synthetic_data

            synthetic_data(self, sources).find(progress)

    def graph(self, part: str, weights: Path | None) -> torch.nn.Module:
        """The network over pixels, with the weights of a file or, for None, seeded ones."""
        from models.detection.weights import load_weights
        from models.pixels import OverPixels

        if weights is None:
            from models.detection.synthetic import seeded_network

            return OverPixels(seeded_network(self), self.sample).eval()
        return OverPixels(load_weights(self, weights), self.sample).eval()

    def skeleton(self, part: str, sizes: Mapping[str, Any]) -> torch.nn.Module:
        """The network over pixels, untrained."""
        from models.pixels import OverPixels

        return OverPixels(self.network(), self.sample)

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
