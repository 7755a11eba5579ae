"""How the work of a sample is distributed in MLPerf's data sets, as tables of quantiles.

Facts for whoever needs realistic samples without the data: the embedded data sets of the tasks and
the simulation of dispatch. Only lengths are here, no contents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Distribution:
    """A distribution by its quantiles at equal steps of probability.

    Between two quantiles values are spread evenly (`steps`), or each of `quantiles` is as likely as
    any other and nothing lies between. `unit` is what a value counts.
    """

    unit: str
    quantiles: tuple[float, ...]
    steps: bool = False

    @property
    def mean(self) -> float:
        """The mean of a draw."""
        values = self.quantiles
        if self.steps:
            return sum(values) / len(values)
        return (sum(values) - (values[0] + values[-1]) / 2) / (len(values) - 1)

    @property
    def longest(self) -> float:
        """The largest value."""
        return max(self.quantiles)

    def draw(self, count: int, seed: int) -> npt.NDArray[np.float64]:
        """Return `count` independent draws, float64 [count]; the same for the same seed."""
        generator = np.random.Generator(np.random.PCG64(seed))
        values = np.array(self.quantiles)
        if self.steps:
            return generator.choice(values, count)
        # A quantile table is the distribution function's inverse.
        places = generator.random(count) * (len(values) - 1)
        drawn: npt.NDArray[np.float64] = np.interp(places, np.arange(len(values)), values)
        return drawn


SQUAD_TOKENS = Distribution(
    "tokens",
    (
        *(41, 74, 92, 108, 116, 121, 126, 130, 133, 137, 141, 145, 148, 152, 156, 160, 165),
        *(169, 174, 179, 184, 191, 197, 203, 210, 218, 229, 243, 260, 276, 302, 365, 384),
    ),
)
"""Tokens of a window of SQuAD v1.1's development set without padding: [CLS] question [SEP] context
[SEP], word pieces of uncased BERT, windows of 384 with a stride of 128 and questions of up to 64.
Counted over the 9,729 windows of 42 of its 48 articles (9,488 of 10,570 questions): mean 178.8."""

LIBRISPEECH_SECONDS = Distribution(
    "seconds",
    (
        *(1.445, 2.19, 2.46, 2.63, 2.80, 2.98, 3.20, 3.38, 3.62, 3.85, 4.05, 4.32, 4.54, 4.76),
        *(4.95, 5.24, 5.54, 5.85, 6.20, 6.54, 6.83, 7.20, 7.57, 7.97, 8.42, 8.82, 9.35, 9.85),
        *(10.35, 11.06, 11.96, 13.36, 14.995),
    ),
)
"""Seconds of an utterance of LibriSpeech's dev-clean, of those up to 15 s as MLPerf's manifest
(dev-clean-wav.json) lists them: 2,513 utterances, mean 6.25 s."""

CRITEO_PAIRS = Distribution(
    "pairs",
    (100, 100, *(200,) * 12, 300, 300, 400, 500, 600, 700),
    steps=True,
)
"""User-item pairs of a DLRM sample: the 20 equally likely values of the reference's
tools/dist_quantile.txt, mean 270 (its trace of 330,067 samples: 270.06)."""
