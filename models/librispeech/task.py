"""RNN-T as a task: waves in, letters out. Features, encoder and decoder are timed (MLPerf)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from base.errors import InputError
from models.librispeech import score
from models.librispeech.dataset import RATE, open_speech
from models.librispeech.decode import MOST, greedy
from models.librispeech.features import WIDTH, Frames, extract
from models.librispeech.labels import LABELS, text
from models.librispeech.utterances import LONGEST_S
from models.published import DataFolder, PublishedFile
from models.task import (
    TRANSDUCER,
    Array,
    Batch,
    Benchmark,
    DataSet,
    Field,
    Part,
    Run,
    Score,
    Sources,
    Task,
    spread,
)

if TYPE_CHECKING:
    import torch

REFERENCE_WER = 7.452253714852645
"""Percent of words, of the float32 reference on dev-clean."""
CALIBRATED = 100
"""Utterances that int8 ranges are taken from, of those that are served."""

BENCHMARK = Benchmark(
    name="rnnt",
    conf="rnnt",
    metric="WER",
    reference=100 - REFERENCE_WER,
    share=0.99,
    scenarios=("Offline", "Server", "SingleStream"),
    samples=2513,
    performance_samples=2513,
    offline_samples=2513,
    server_ms=1000.0,
    audits=("TEST01",),
    edge="v4.0",
    datacenter="v4.0",
)

PUBLISHED = (
    PublishedFile(
        "DistributedDataParallel_1576581068.9962234-epoch-100.pt",
        "https://zenodo.org/record/3662521/files/"
        "DistributedDataParallel_1576581068.9962234-epoch-100.pt",
        "MLPerf's reference in float32, WER 7.45%",
        record="https://zenodo.org/api/records/3662521",
    ),
)
"""What `loadrun fetch rnnt` knows."""

DATA = DataFolder(
    "librispeech",
    "LibriSpeech's dev-clean",
    {"data": "LibriSpeech/dev-clean", "calibration": "calibration*"},
    (
        PublishedFile(
            "dev-clean.tar.gz",
            "https://www.openslr.org/resources/12/dev-clean.tar.gz",
            "2,703 utterances as flac with transcripts, 2,513 of them up to 15 s",
            "md5:42e2234ba48799c1f50f24a7926300a1",
            unpacks_to="",
        ),
    ),
)
"""Calibration: utterances of train-clean-100 (MLPerf's list has 500)."""

_STATE = (Field("hidden", "<f4", (None, None)), Field("cell", "<f4", (None, None)))


class RNNT(Task):
    """MLPerf's speech recognition; its sizes are those of the weights."""

    name = "rnnt"
    title = "RNN-T, LibriSpeech"
    aliases = ("rnn-t", "librispeech")
    benchmarks = (BENCHMARK,)
    unit = "frames"
    items = "utterances"
    truths = "transcripts"
    published = PUBLISHED
    dataset = DATA
    answer_bytes = 8 * MOST * (Frames(RATE).features(int(LONGEST_S * RATE)) // 2 + 1)
    parts = (
        Part(
            "encoder",
            (Field("features", "<f4", (None, WIDTH)), Field("length", "<i8", ())),
            (Field("encoded", "<f4", (None, None)),),
            form=TRANSDUCER,
        ),
        Part(
            "prediction",
            (Field("label", "<i8", ()), *_STATE),
            (Field("predicted", "<f4", (None,)), *_STATE),
            form=TRANSDUCER,
        ),
        Part(
            "joint",
            (Field("encoded", "<f4", (None,)), Field("predicted", "<f4", (None,))),
            (Field("label", "<i8", ()),),
            form=TRANSDUCER,
        ),
    )

    def data(self, sources: Sources) -> DataSet:
        """The utterances of a folder or manifest, or seeded ones. Raises InputError."""
        if sources.data is None:
            from models.librispeech import synthetic

            return synthetic.served(sources.cache, scored=sources.weights is None)
        return self._speech(sources.data, sources)

    def calibration(self, sources: Sources) -> DataSet:
        """The utterances that int8 ranges are taken from. Raises InputError."""
        if sources.calibration is not None:
            return self._speech(sources.calibration, sources)
        if sources.data is None:
            from models.librispeech import synthetic

            return synthetic.calibration()
        return spread(self._speech(sources.data, sources), CALIBRATED)

    def _speech(self, path: Path, sources: Sources) -> DataSet:
        options = dict(sources.options or {})
        root = Path(options["audio"]) if options.get("audio") else None
        return open_speech(path, root, int(options.get("sample_rate") or RATE))

    def weights(self, sources: Sources) -> Path | None:
        """The user's, or the embedded ones."""
        if sources.weights is not None:
            return sources.weights
        from models.librispeech import synthetic

        assert sources.cache is not None
        return synthetic.weights_file(sources.cache)

    def embed(self, sources: Sources, progress: Callable[[int, int], None]) -> None:
        """Make the seeded weights, and have them say the seeded sounds, which is their truth."""
        if sources.weights is None:
            from models.librispeech import synthetic

            assert sources.cache is not None
            synthetic.ensure(sources.cache, progress)

    def graph(self, part: str, weights: Path | None) -> torch.nn.Module:
        """A part of the network in float32. Raises WeightsError."""
        from models.librispeech import weights as files

        if weights is None:
            raise InputError(f"{self.name}: its network needs weights")
        state = files.read(weights)
        return files.part(part, files.sizes_of(weights, state), state)

    def sizes(self, weights: Path | None) -> Mapping[str, Any]:
        """The widths and numbers of layers."""
        from models.librispeech import weights as files

        if weights is None:
            raise InputError(f"{self.name}: its network needs weights")
        return asdict(files.sizes_of(weights, files.read(weights)))

    def skeleton(self, part: str, sizes: Mapping[str, Any]) -> torch.nn.Module:
        """A part of the network, of any values."""
        from models.librispeech import network

        module: torch.nn.Module = network.PARTS[part](network.Sizes(**sizes))
        return module

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Sequence[Array]:
        """Return the labels of each utterance: int64 [n]."""
        rates = [int(rate) for rate in batch.views("rate")]
        waves = batch.views("wave")
        features = [extract(one, Frames(rate)) for one, rate in zip(waves, rates, strict=True)]
        lengths = np.array([len(one) for one in features], np.int64)
        padded = np.zeros((len(features), lengths.max(), WIDTH), np.float32)
        for row, one in zip(padded, features, strict=True):
            row[: len(one)] = one
        encoded = run["encoder"](features=padded, length=lengths)["encoded"]
        spelt = greedy(encoded, -(-lengths // 2), run["prediction"], run["joint"])
        return [np.array(labels, "<i8") for labels in spelt]

    def score(self, answers: Mapping[int, bytes], data: DataSet) -> Score:
        """Return 100 less the word error rate in percent, and the reference's line."""
        truths: Sequence[str] = data.texts  # type: ignore[attr-defined]
        order = sorted(answers)
        spelt = [_text(index, answers[index], len(truths)) for index in order]
        rate = score.word_error_rate([truths[index] for index in order], spelt)
        return Score(100 * (1 - rate), score.line(rate), len(order))


def _text(index: int, answer: bytes, count: int) -> str:
    if not 0 <= index < count:
        raise InputError(
            f"answer to sample {index}, of {count}; the log and the data do not belong together"
        )
    labels = np.frombuffer(answer, "<i8") if len(answer) % 8 == 0 else np.array([-1])
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(LABELS):
        raise InputError(f"the answer to sample {index} is no row of int64 labels 0 to 27")
    return text(labels.tolist())


RNNT_TASK = RNNT()
