"""The task: BERT answers questions on paragraphs.

A part's rows are tokens, those of all sequences of a batch one behind the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.published import DataFolder, PublishedFile
from models.squad.dataset import FIELDS, QuestionData, calibration_windows, vocabulary_of
from models.squad.stream import stream
from models.squad.windows import LONGEST
from models.task import (
    ENCODER,
    Array,
    Batch,
    Benchmark,
    Chosen,
    DataSet,
    Field,
    Part,
    Run,
    Score,
    Sources,
    Task,
)

if TYPE_CHECKING:
    import torch

NETWORK = "network"
REFERENCE = 90.874


def _benchmark(name: str, share: float, precision: str, edge: str) -> Benchmark:
    return Benchmark(
        name=name,
        conf="bert",
        metric="F1",
        reference=REFERENCE,
        share=share,
        scenarios=("Offline", "Server", "SingleStream"),
        samples=10_833,
        performance_samples=10_833,
        offline_samples=10_833,
        server_ms=130.0,
        audits=("TEST01",),
        edge=edge,
        datacenter="v4.1",
        precision=precision,
    )


_ZENODO = "https://zenodo.org/record/{0}/files/{1}"
PUBLISHED = (
    PublishedFile(
        "model.pytorch",
        _ZENODO.format(3733896, "model.pytorch"),
        "MLPerf's reference in float32, F1 90.874",
        "md5:00fbcbfaebfa20d87ac9885120a6e9b4",
    ),
    PublishedFile(
        "vocab.txt",
        _ZENODO.format(3733868, "vocab.txt"),
        "its vocabulary, which belongs beside the weights",
        "md5:64800d5d8528ce344256daf115d4965e",
        beside=True,
    ),
    PublishedFile(
        "pytorch_model.bin",
        _ZENODO.format(4792496, "pytorch_model.bin"),
        "MLPerf's trained for int8, F1 90.633",
        "md5:0734c580cb53b4b56a3f400771ffcb7c",
    ),
    PublishedFile(
        "model.onnx",
        _ZENODO.format(3733910, "model.onnx"),
        "the reference as ONNX",
        "md5:819b25b19cd8e59080c10892689750ca",
    ),
    PublishedFile(
        "bert_large_v1_1_fake_quant.onnx",
        _ZENODO.format(3750364, "bert_large_v1_1_fake_quant.onnx"),
        "trained for int8, as ONNX, F1 90.067",
        "md5:45f88ffb2915362242703c85c38ec2d4",
    ),
)
"""What `loadrun fetch bert` knows; the first is what it fetches by itself."""
DATA = DataFolder(
    "squad",
    "SQuAD v1.1's dev set",
    {"data": "dev-v1.1.json*", "calibration": "calibration*"},
    (
        PublishedFile(
            "dev-v1.1.json",
            "https://rajpurkar.github.io/SQuAD-explorer/dataset/dev-v1.1.json",
            "10,570 questions on 48 articles",
            "md5:3e85deb501d4e538b6bc56f786231552",
        ),
    ),
)
"""Calibration: MLPerf's list, or a SQuAD file of its own."""


class Squad(Task):
    """BERT on SQuAD v1.1. Its size is that of the weights."""

    name = "bert"
    title = "BERT, SQuAD v1.1"
    aliases = ("squad", "bert-large")
    # int8 keeps 99% of F1, not 99.9%.
    benchmarks = (
        _benchmark("bert-99", 0.99, "int8", "v6.1"),
        _benchmark("bert-99.9", 0.999, "bf16", "v5.0-v6.1"),
    )
    parts = (
        Part(
            NETWORK,
            inputs=(
                Field("input_ids", "<i4", ()),
                Field("positions", "<i4", ()),
                Field("types", "<i4", ()),
            ),
            outputs=(Field("logits", "<f4", (2,)),),
            form=ENCODER,
        ),
    )
    fields = FIELDS
    answer_bytes = LONGEST * 2 * 4
    unit = "tokens"
    items = "windows"
    truths = "answers"
    published = PUBLISHED
    dataset = DATA

    def data(self, sources: Sources) -> DataSet:
        """The windows of a SQuAD v1.1 file, or seeded sequences. Raises InputError."""
        if sources.data is None:
            from models.squad.synthetic import SyntheticData

            return SyntheticData(sources.cache)
        return QuestionData(sources.data, vocabulary_of(sources))

    def calibration(self, sources: Sources) -> DataSet:
        """The windows that int8 ranges are taken from. Raises InputError.

        `sources.calibration` is a list for the data that are served (MLPerf's window numbers of all
        of SQuAD's dev set, or its question ids), or a SQuAD file of its own; None takes some of
        the windows that are served.
        """
        if sources.data is None:
            from models.squad.synthetic import CALIBRATED, SyntheticData

            return SyntheticData(seed=1, count=CALIBRATED)
        listing = sources.calibration
        if listing is not None and listing.suffix.lower() in (".json", ".gz"):
            other = QuestionData(listing, vocabulary_of(sources))
            return Chosen(other, tuple(calibration_windows(other, None)))
        data = QuestionData(sources.data, vocabulary_of(sources))
        return Chosen(data, tuple(calibration_windows(data, listing)))

    def embed(self, sources: Sources, progress: Callable[[int, int], None]) -> None:
        """Have the seeded network answer the seeded sequences, which is their truth."""
        if sources.data is None and sources.weights is None:
            from models.squad.synthetic import SyntheticData

            SyntheticData(sources.cache).spans(progress)

    def graph(self, part: str, weights: Path | None) -> torch.nn.Module:
        """The network in float32. Raises WeightsError."""
        if weights is None:
            from models.squad.synthetic import seeded_network

            return seeded_network()
        from models.squad.weights import load_network

        return load_network(weights)

    def sizes(self, weights: Path | None) -> Mapping[str, Any]:
        """The dimensions of the network."""
        from models.squad.sizes import LARGE

        if weights is None:
            return asdict(LARGE)
        from models.squad.weights import read_weights

        return asdict(read_weights(weights).sizes)

    def skeleton(self, part: str, sizes: Mapping[str, Any]) -> torch.nn.Module:
        """The network without weights."""
        from models.squad.network import QuestionAnswering
        from models.squad.sizes import Sizes

        return QuestionAnswering(Sizes(**sizes))

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Sequence[Array]:
        """Start and end logits of every token, float32 [tokens, 2] a sample."""
        ids = batch.views("input_ids")
        sizes = [len(one) for one in ids]
        out = run[NETWORK](**stream(ids, [int(one) for one in batch.views("second")]))
        return np.split(out["logits"], np.cumsum(sizes)[:-1])

    def score(self, answers: Mapping[int, bytes], data: DataSet) -> Score:
        """Exact match and F1, in percent; the value is F1."""
        quality = data.judge(answers)  # type: ignore[attr-defined]
        return Score(quality.f1, quality.line, quality.questions)


SQUAD = Squad()
