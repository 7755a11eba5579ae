"""A task of sequences: two fields whose shapes vary, a fixed one, answers of 0 to many bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import InputError
from models.task import (
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
)

MOST = 40
"""Elements of a sequence at most."""
IDS = Field("ids", "<i4", (None,))
PAIRS = Field("pairs", "<i2", (None, 2))
SCALE = Field("scale", "<i4", ())


@dataclass(frozen=True)
class Sequences:
    """Seeded sequences (`models.task.DataSet`); `broken` cannot be read."""

    count: int = 64
    seed: int = 5
    broken: tuple[int, ...] = ()
    name = "sequences"
    synthetic = True
    preparation = "ragged-1"
    fields = (IDS, PAIRS, SCALE)
    notes = ()
    truth = "the sequences themselves"
    scored = True

    @property
    def sha256(self) -> str:
        """Of what they are drawn from."""
        return hashlib.sha256(f"{self.count} {self.seed}".encode()).hexdigest()

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> dict[str, Array]:
        """Draw one."""
        if index in self.broken:
            raise InputError(f"sequence {index}: is broken")
        random = np.random.default_rng((self.seed, index))
        # Every seventh is empty, and lengths are far from alike.
        length = 0 if index % 7 == 3 else int(1 + MOST * random.random() ** 3)
        return {
            "ids": random.integers(-9, 100, length, np.int32),
            "pairs": random.integers(-99, 99, (length // 2, 2), np.int16),
            "scale": np.array(index % 5 + 1, np.int32),
        }

    def cost(self, sample: Mapping[str, Array]) -> float:
        """Elements, and one for the rest."""
        return len(sample["ids"]) + 1.0


class Ragged(Task):
    """Answers a sequence with its positive elements, scaled, and its index; and with its pairs."""

    name = "ragged"
    title = "Sequences"
    benchmarks: tuple[Benchmark, ...] = (
        Benchmark(
            name="ragged",
            conf="ragged",
            metric="exact",
            reference=100.0,
            share=1.0,
            scenarios=("SingleStream", "MultiStream", "Server", "Offline"),
            samples=64,
            performance_samples=16,
        ),
    )
    parts = (
        Part(
            "scaled",
            (Field("ids", "<i4", (None,)), Field("scale", "<i4", ())),
            (Field("products", "<i4", (None,)),),
        ),
    )
    answer_bytes = 4 * MOST + 4 + 2 * MOST

    def data(self, sources: Sources) -> Sequences:
        """The sequences."""
        return Sequences()

    def graph(self, part: str, weights: Path | None) -> Any:
        """There is no network: the test brings what runs the part."""
        raise NotImplementedError

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Sequence[bytes | Array]:
        """Answer a batch."""
        longest = max(map(len, batch.views("ids")))
        products = run["scaled"](
            ids=batch.padded("ids", longest, fill=-1), scale=batch.stacked("scale")
        )["products"]
        answers: list[bytes | Array] = []
        for row, pairs, index in zip(products, batch.views("pairs"), batch.indices, strict=True):
            found = row[row > 0]
            tail = pairs.tobytes() + index.to_bytes(4, "little")
            answers.append(found.tobytes() + tail if len(found) else b"")
        return answers

    def score(self, answers: Mapping[int, bytes], data: DataSet) -> Score:
        """How many are exact."""
        right = [expected(data, index) == answer for index, answer in answers.items()]
        value = 100.0 * sum(right) / len(right)
        return Score(value, f"exact={value:.2f}%", len(right))


class Bulky(Ragged):
    """Answers with many bytes: `largest` times the place of a sample, from none on."""

    def __init__(self, name: str, largest: int) -> None:
        self.name = name
        self.answer_bytes = largest

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Sequence[bytes | Array]:
        """Answer a batch: arrays and bytes by turns."""
        answers = [bulk(self.answer_bytes, index) for index in batch.indices]
        return [a if i % 2 else a.tobytes() for i, a in enumerate(answers)]


def bulk(largest: int, index: int) -> Array:
    """The answer to a sample: no two are alike, and every fifth is empty."""
    count = 0 if index % 5 == 4 else largest * (index + 1) // 16 // 4
    return np.arange(count, dtype="<u4") * np.uint32(2654435761) + np.uint32(index)


RAGGED = Ragged()
BULKY = Bulky("bulky", 400_000)
"""Several answers fill a slot of the ring."""
BULKIER = Bulky("bulkier", 3_000_000)
"""One answer is more than a usual slot."""


def scaled(ids: Array, scale: Array) -> dict[str, Array]:
    """What an engine would compute for the part."""
    return {"products": ids * scale[:, None]}


def expected(data: DataSet, index: int) -> bytes:
    """The answer to a sample, by itself."""
    sample = data.read(index)
    found = [int(i) * int(sample["scale"]) for i in sample["ids"] if i > 0]
    if not found:
        return b""
    ids = np.array(found, "<i4").tobytes()
    return ids + sample["pairs"].astype("<i2").tobytes() + np.uint32(index).tobytes()
