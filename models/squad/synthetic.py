"""The embedded default: a full BERT-large with seeded weights, on seeded sequences.

Lengths follow SQuAD's distribution. Every block adds a quarter of a token's own size to it, so that
tokens stay apart through 24 of them and int8 rounding is neither lost nor amplified. In every
sequence some words carry marks in their embeddings, one start and one end a stronger one than
others; the head looks for these marks. So answers are spans with margins that differ, as a trained
network's do. The truth is what this network itself answers in float32.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from base.files import written_aside
from models.squad.answers import best_span
from models.squad.dataset import FIELDS, cost_of, logits_of
from models.squad.score import Quality
from models.squad.sizes import LARGE, Sizes
from models.squad.windows import Window
from models.task import Array, Field

if TYPE_CHECKING:
    from models.squad.network import QuestionAnswering

VERSION = "1"
"""Of what this module makes: part of every key that rests on it."""
SEQUENCES = 64
CALIBRATED = 16
"""Sequences that int8 ranges are taken from; none of those that are served."""
QUANTILES = (
    41, 89, 101, 108, 114, 119, 124, 128, 132, 136, 140, 144, 148, 151, 155, 158, 163,
    168, 173, 178, 183, 189, 196, 204, 212, 222, 232, 245, 261, 283, 316, 373, 384,
)  # fmt: skip
"""Lengths of SQuAD's windows, from the shortest to the longest in equal shares."""
CLS, SEP, FIRST_WORD = 101, 102, 1000
MARKED = 64
"""Words with a start mark, the last of the vocabulary, and as many before them with an end mark."""
_STRONG, _WEAK = 24.0, 14.0
_SEED = 22
Progress = Callable[[int, int], None]


class SyntheticData:
    """Seeded sequences of word pieces."""

    name = "synthetic"
    fields: tuple[Field, ...] = FIELDS
    synthetic = True
    preparation = f"squad-synthetic-{VERSION}"

    def __init__(
        self, cache: Path | None = None, seed: int = 0, count: int = SEQUENCES, sizes: Sizes = LARGE
    ) -> None:
        self._cache, self._seed, self._count, self._sizes = cache, seed, count, sizes
        facts = json.dumps([VERSION, seed, count, sizes.pieces, sizes.hidden, sizes.layers])
        self.sha256 = hashlib.sha256(f"synthetic {facts}".encode()).hexdigest()

    notes: tuple[str, ...] = ()
    truth = "what the network answers in float32"
    scored = True

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> Mapping[str, Array]:
        """Return the fields of one sequence."""
        window = self.windows[index]
        return {"input_ids": window.ids, "second": np.array(window.second, np.int32)}

    def cost(self, sample: Mapping[str, Array]) -> float:
        """Work of a sample in tokens, attention included."""
        return cost_of(len(sample["input_ids"]))

    @cached_property
    def windows(self) -> list[Window]:
        """All sequences, without words: answers are places."""
        random = np.random.default_rng([_SEED, self._seed])
        places = (random.permutation(self._count) + 0.5) / self._count * (len(QUANTILES) - 1)
        lengths = np.interp(places, np.arange(len(QUANTILES)), QUANTILES).astype(int)
        return [self._window(random, int(length)) for length in lengths]

    def _window(self, random: np.random.Generator, length: int) -> Window:
        second = int(random.integers(9, 22))
        words = self._sizes.pieces - 2 * MARKED
        ids = random.integers(FIRST_WORD, words, length).astype(np.int32)
        start, end = words + MARKED, words
        for place in random.choice(np.arange(second, length - 12), 3, replace=False):
            span = int(random.integers(0, 10))
            ids[place] = start + random.integers(MARKED)
            ids[place + span + 1] = end + random.integers(MARKED)
        ids[0], ids[second - 1], ids[-1] = CLS, SEP, SEP
        inside = length - 1 - second
        return Window(0, ids, second, np.arange(inside, dtype=np.int32), np.ones(inside, bool))

    def spans(self, progress: Progress = lambda done, total: None) -> NDArray[np.int64]:
        """What the network answers in float32: first and last token of each sequence.

        Computed once, which takes a minute, and kept in the cache.
        """
        path = None
        if self._cache is not None:
            path = self._cache / "squad" / f"truth-{self.sha256[:16]}.npy"
            if path.is_file():
                kept: NDArray[np.int64] = np.load(path, allow_pickle=False)
                return kept
        spans = np.array(self._answers(progress), np.int64)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_aside(path) as aside, aside.open("wb") as file:
                np.save(file, spans)
        return spans

    def _answers(self, progress: Progress) -> list[tuple[int, int]]:
        import torch

        from models.squad.stream import stream

        network = seeded_network(self._sizes)
        answers: list[tuple[int, int]] = [(0, 0)] * self._count
        for done, index in enumerate(np.argsort([len(w.ids) for w in self.windows]).tolist()):
            progress(done, self._count)
            window = self.windows[index]
            given = stream([window.ids], [window.second])
            with torch.inference_mode():
                logits = network(**{name: torch.from_numpy(one) for name, one in given.items()})
            answers[index] = _span(window, logits.numpy())
        return answers

    def judge(self, given: Mapping[int, bytes]) -> Quality:
        """Judge responses by the network's own answers in float32, by places of tokens."""
        truth = self.spans()
        exact = total = 0.0
        for index, response in given.items():
            if index >= len(self):
                raise InputError(f"response to sample {index}, of {len(self)}")
            start, end = _span(self.windows[index], logits_of(response))
            first, last = truth[index].tolist()
            exact += (start, end) == (first, last)
            common = max(0, min(end, last) - max(start, first) + 1)
            total += 2 * common / (end - start + last - first + 2)
        count = max(1, len(given))
        return Quality(100.0 * exact / count, 100.0 * total / count, len(given))


def _span(window: Window, logits: NDArray[np.float32]) -> tuple[int, int]:
    span = best_span(window, logits)
    return (0, 0) if span is None else span[1:]


def seeded_network(sizes: Sizes = LARGE) -> QuestionAnswering:
    """The network of the embedded default; the same on every machine."""
    import torch

    from models.squad.network import QuestionAnswering

    with torch.device("meta"):
        network = QuestionAnswering(sizes)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(_SEED)
    hidden, inner = sizes.hidden, sizes.inner
    unit = 1 / math.sqrt(hidden)
    # What attention sees has about half the spread of its values, GELU about 0.65 of its inputs'.
    spreads = {
        "query": 1.4 * unit,
        "key": 1.4 * unit,
        "value": unit,
        "attention.output.dense": 0.25 * unit / 0.55,
        "intermediate.dense": unit,
        "layer.output.dense": 0.25 / math.sqrt(inner) / 0.65,
        "word_embeddings": 1.0,
        "position_embeddings": 0.3,
        "token_type_embeddings": 0.1,
    }
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            short = ".".join(part for part in name.split(".") if not part.isdigit())
            if "LayerNorm" in name:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
            elif name.endswith("bias"):
                parameter.zero_()
            elif name != "qa_outputs.weight":
                spread = next(value for key, value in spreads.items() if key in short)
                parameter.normal_(0.0, spread, generator=generator)
        directions = torch.empty(2, hidden).normal_(0.0, unit, generator=generator)
        network.qa_outputs.weight.copy_(directions)
        words = network.bert.embeddings.word_embeddings.weight
        strength = torch.linspace(_WEAK, _STRONG, MARKED)[:, None]
        words[-MARKED:] += strength * directions[0]
        words[-2 * MARKED : -MARKED] += strength * directions[1]
    network.eval().requires_grad_(False)
    return network
