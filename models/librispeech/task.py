"""RNN-T as a task: waves in, letters out; features, encoder and decoder are timed (MLPerf's rule)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from base.errors import InputError
from models.librispeech import score
from models.librispeech.dataset import RATE, Speech, open_speech
from models.librispeech.decode import MOST, greedy
from models.librispeech.features import WIDTH, Frames, extract
from models.librispeech.labels import text
from models.task import Array, Batch, Benchmark, DataSet, Field, Part, Run, Score, Sources, Task

if TYPE_CHECKING:
    import torch

LONGEST_S = 15.0
REFERENCE_WER = 7.452253714852645
"""Percent of words, of the float32 reference on dev-clean."""

RNNT_BENCHMARK = Benchmark(
    name="rnnt",
    conf="rnnt",
    metric="accuracy",
    reference=100 - REFERENCE_WER,
    share=0.99,
    scenarios=("Offline", "Server", "SingleStream"),
    samples=2513,
    performance_samples=2513,
    server_ms=1000,
    audits=("TEST01",),
)

WASTE = 0.8
"""Utterances this much shorter than the longest of a group begin another one."""
LEAST = 8
"""Utterances of a group at least, where there are so many: fewer leave the processor waiting."""


@dataclass(frozen=True)
class RNNT(Task):
    """MLPerf's speech recognition; its sizes are those of the weights."""

    name: str = "rnnt"
    title: str = "RNN-T, LibriSpeech"
    aliases: tuple[str, ...] = ("rnn-t", "librispeech")
    benchmarks: tuple[Benchmark, ...] = (RNNT_BENCHMARK,)
    unit: str = "features"
    answer_bytes: int = 8 * MOST * (Frames(RATE).features(int(LONGEST_S * RATE)) // 2 + 1)
    parts: tuple[Part, ...] = (
        Part(
            "encoder",
            (Field("features", "<f4", (None, WIDTH)), Field("length", "<i8", ())),
            (Field("encoded", "<f4", (None, None)),),
        ),
        Part(
            "prediction",
            (
                Field("label", "<i8", ()),
                Field("hidden", "<f4", (None, None)),
                Field("cell", "<f4", (None, None)),
            ),
            (
                Field("predicted", "<f4", (None,)),
                Field("hidden", "<f4", (None, None)),
                Field("cell", "<f4", (None, None)),
            ),
        ),
        Part(
            "joint",
            (Field("encoded", "<f4", (None,)), Field("predicted", "<f4", (None,))),
            (Field("label", "<i8", ()),),
        ),
    )
    frames: Frames = Frames(RATE)

    def data(self, sources: Sources) -> DataSet:
        """The utterances of a folder or manifest, or seeded ones."""
        options = dict(sources.options or {})
        if sources.data is None:
            from models.librispeech import synthetic

            return synthetic.open_synthetic(sources.cache or Path())
        root = Path(options["audio"]) if "audio" in options else None
        return open_speech(sources.data, root, int(options.get("sample_rate", RATE)))

    def graph(self, part: str, weights: Path | None) -> torch.nn.Module:
        """A part of the network in float32. Raises WeightsError."""
        from models.librispeech import weights as files

        if weights is None:
            from models.librispeech import synthetic

            return files.part(part, synthetic.SIZES, synthetic.state())
        state = files.read(weights)
        return files.part(part, files.sizes_of(weights, state), state)

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Sequence[Array]:
        """Return the labels of each utterance: int64 [n]."""
        features = [extract(wave, self.frames) for wave in batch.views("wave")]
        spelt: list[Array] = [np.empty(0, np.int64)] * len(features)
        for group in groups([len(one) for one in features]):
            lengths = np.array([len(features[one]) for one in group], np.int64)
            padded = np.zeros((len(group), lengths.max(), WIDTH), np.float32)
            for row, one in zip(padded, group, strict=True):
                row[: len(features[one])] = features[one]
            encoded = run["encoder"](features=padded, length=lengths)["encoded"]
            found = greedy(encoded, -(-lengths // 2), run["prediction"], run["joint"])
            for one, labels in zip(group, found, strict=True):
                spelt[one] = np.array(labels, "<i8")
        return spelt

    def score(self, answers: Mapping[int, bytes], data: DataSet) -> Score:
        """Return 100 less the word error rate in percent, and the reference's line."""
        assert isinstance(data, Speech)
        order = sorted(answers)
        for index in order:
            if len(answers[index]) % 8:
                raise InputError(f"the answer to sample {index} is no row of int64 labels")
        spelt = [text(np.frombuffer(answers[index], "<i8").tolist()) for index in order]
        rate = score.word_error_rate([data.texts[index] for index in order], spelt)
        return Score(100 * (1 - rate), score.line(rate), len(order))


def groups(lengths: Sequence[int]) -> list[list[int]]:
    """Return positions, longest first, in groups of like length."""
    found: list[list[int]] = []
    for one in sorted(range(len(lengths)), key=lambda one: -lengths[one]):
        if found and (len(found[-1]) < LEAST or lengths[one] >= WASTE * lengths[found[-1][0]]):
            found[-1].append(one)
        else:
            found.append([one])
    return found


TASK = RNNT()
