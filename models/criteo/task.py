"""DLRM as a task: click-through rates of some hundred user-item pairs a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from base.errors import InputError
from base.unchanged import file_digest
from models.criteo import score, synthetic
from models.criteo.aggregate import OFFICIAL_SAMPLES, QUANTILES
from models.criteo.dataset import Aggregation, CriteoData, open_rows
from models.criteo.folders import CRITEO
from models.criteo.shapes import DENSE, MULTIHOT, TERABYTE_40M, Shape
from models.published import DataFolder
from models.task import Array, Batch, Benchmark, DataSet, Field, Part, Run, Score, Sources, Task

if TYPE_CHECKING:
    import torch

PAIRS = 2048
"""Pairs that go through the network together: what they touch stays in a core's caches."""


def _benchmarks(name: str, auc: float, server_ms: float, last_round: str) -> tuple[Benchmark, ...]:
    return tuple(
        Benchmark(
            name=f"{name}-{percent}",
            conf=name,
            metric="AUC",
            reference=auc,
            share=share,
            scenarios=("Offline", "Server"),
            samples=OFFICIAL_SAMPLES,
            performance_samples=204_800,
            server_ms=server_ms,
            audits=("TEST01",),
            datacenter=last_round,
        )
        for percent, share in (("99", 0.99), ("99.9", 0.999))
    )


@dataclass(frozen=True)
class DLRMTask(Task):
    """One of the published networks; weights of another shape bring theirs with them."""

    name: str
    title: str
    shape: Shape
    benchmarks: tuple[Benchmark, ...]
    aliases: tuple[str, ...] = ()
    unit: str = "pairs"
    truths: str = "clicks"
    dataset: DataFolder | None = CRITEO
    answer_bytes: int = 4 * max(QUANTILES)

    @property
    def parts(self) -> tuple[Part, ...]:  # type: ignore[override]
        """The network: logits of pairs."""
        dense = Field("dense", "<f4", (DENSE,))
        sparse = Field("sparse", "<i4", (self.shape.lookups,))
        return (Part("network", (dense, sparse), (Field("logit", "<f4", ()),)),)

    def data(self, sources: Sources) -> DataSet:
        """Rows at `sources.data` in any of their forms, or the seeded ones."""
        cache = sources.cache or Path()
        if sources.data is None:
            if sources.weights is not None:
                raise InputError("weights of DLRM need the rows they are for: give --data")
            rows = synthetic.rows(cache)
            digest = hashlib.sha256(f"synthetic {synthetic.VERSION}".encode()).hexdigest()
            return CriteoData(
                "synthetic", digest, rows, synthetic.offsets(), synthetic.SHAPE.lookups, True
            )
        options = dict(sources.options or {})
        shape = self._shape(sources.weights)
        modulus = options.get("max_ind_range")
        found = open_rows(sources.data, shape, cache, int(modulus) if modulus else None)
        offsets = _aggregation(options).offsets(len(found))
        sha256 = hashlib.sha256(offsets.tobytes())
        for file in found.files:
            sha256.update(file_digest(file))
        return CriteoData(sources.data.name, sha256.hexdigest(), found, offsets, shape.lookups)

    def _shape(self, weights: Path | None) -> Shape:
        if weights is None:
            return self.shape
        from models.criteo.weights import read_mapped, shape_of

        return shape_of(weights, read_mapped(weights))

    def graph(self, part: str, weights: Path | None) -> torch.nn.Module:
        """The whole network in float32; tables of a checkpoint are read when they are used."""
        if weights is None:
            return synthetic.network()
        from models.criteo.weights import network

        return network(weights)

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Sequence[Array]:
        """Return the click-through rates of each sample: float32 [pairs]."""
        network = run["network"]
        dense, sparse = (_joined(batch.views(name)) for name in ("dense", "sparse"))
        cuts = [slice(at, at + PAIRS) for at in range(0, len(dense), PAIRS)]
        logits = np.concatenate(
            [network(dense=dense[cut], sparse=sparse[cut])["logit"] for cut in cuts]
        )
        # In float64: exp of -90 in float32 would overflow to a warning.
        rates = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
        ends = np.cumsum([len(view) for view in batch.views("dense")])
        return np.split(rates, ends[:-1])

    def score(self, answers: Mapping[int, bytes], data: DataSet) -> Score:
        """Return the area under the ROC curve in percent, and MLPerf's line."""
        assert isinstance(data, CriteoData)
        order = sorted(answers)
        predicted = np.frombuffer(b"".join(answers[index] for index in order), "<f4")
        clicked = np.concatenate([data.labels(index) for index in order])
        if len(clicked) != len(predicted):
            raise InputError(
                f"the log has {len(predicted):,} predictions for the {len(clicked):,} pairs of its "
                "samples: it was made with another aggregation (--samples-to-aggregate-fix)"
            )
        value = 100 * score.roc_auc(clicked, predicted)
        return Score(value, score.line(clicked, predicted, len(order)), len(order))


def _joined(views: Sequence[Array]) -> Array:
    return views[0] if len(views) == 1 else np.concatenate(views)


def _aggregation(options: Mapping[str, str]) -> Aggregation:
    def count(name: str) -> int | None:
        return int(options[name]) if name in options else None

    def path(name: str) -> Path | None:
        return Path(options[name]) if name in options else None

    return Aggregation(
        count("samples_to_aggregate_fix"),
        count("samples_to_aggregate_min"),
        count("samples_to_aggregate_max"),
        path("samples_to_aggregate_quantile_file"),
        path("samples_to_aggregate_trace_file"),
    )


DLRM = DLRMTask(
    name="dlrm",
    title="DLRM, Criteo Terabyte",
    shape=TERABYTE_40M,
    benchmarks=_benchmarks("dlrm", 80.25, 30, "v3.0"),
    aliases=("dlrm-terabyte", "dlrm-v1"),
)
DLRM_V2 = DLRMTask(
    name="dlrm-v2",
    title="DLRM-v2 (DCN), multi-hot Criteo",
    shape=MULTIHOT,
    benchmarks=_benchmarks("dlrm-v2", 80.31, 60, "v5.1"),
    aliases=("dlrm-dcn", "dlrmv2"),
)
