"""DLRM as a task: click-through rates of some hundred user-item pairs a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from base.errors import InputError
from base.unchanged import kept_digest
from models.criteo import score, synthetic
from models.criteo.aggregate import OFFICIAL_SAMPLES
from models.criteo.dataset import (
    CLICKED,
    MOST_PAIRS,
    Aggregation,
    CriteoData,
    notes_of,
    open_rows,
)
from models.criteo.folders import CRITEO
from models.criteo.shapes import DENSE
from models.criteo.synthetic import Seeded
from models.errors import WeightsError
from models.published import DataFolder, PublishedFile
from models.ranking import Shape, shape_from
from models.task import (
    RANKING,
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
from models.workers import Progress

if TYPE_CHECKING:
    import torch

CALIBRATED = 64
"""Samples that int8 ranges are taken from: some 17,000 pairs."""
PAIRS = 2048
"""Pairs that go through the network together: what they touch stays in a core's caches."""


def _benchmarks(name: str, auc: float, server_ms: float, rounds: str) -> tuple[Benchmark, ...]:
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
            datacenter=rounds,
        )
        for percent, share in (("99", 0.99), ("99.9", 0.999))
    )


@dataclass(frozen=True)
class DLRMTask(Task):
    """One of the published networks; weights of another shape bring theirs with them."""

    name: str
    title: str
    seeded: Seeded
    """The embedded default, of the published shape."""
    benchmarks: tuple[Benchmark, ...]
    aliases: tuple[str, ...] = ()
    published: tuple[PublishedFile, ...] = ()
    unit: str = "pairs"
    truths: str = "clicks"
    dataset: DataFolder | None = CRITEO
    answer_bytes: int = 2 * 4 * MOST_PAIRS

    @property
    def parts(self) -> tuple[Part, ...]:  # type: ignore[override]
        """The network: logits of pairs."""
        dense = Field("dense", "<f4", (DENSE,))
        sparse = Field("sparse", "<i4", (self.seeded.published.lookups,))
        return (Part("network", (dense, sparse), (Field("logit", "<f4", ()),), form=RANKING),)

    def embed(self, sources: Sources, progress: Progress) -> None:
        """Have the seeded network draw the truth of the seeded pairs."""
        if sources.data is None and sources.weights is None and sources.cache is not None:
            self.seeded.rows(sources.cache, progress)

    def data(self, sources: Sources) -> DataSet:
        """Rows at `sources.data` in any of their forms, or the seeded ones. Raises InputError."""
        return self._data(sources, sources.data)

    def calibration(self, sources: Sources) -> DataSet:
        """Some of the samples of `sources.calibration`, rows of any form, else of the data."""
        # How samples are put together, and their truth, is for what is served.
        kept = {
            name: value
            for name, value in (sources.options or {}).items()
            if not name.startswith("samples_to_aggregate") and name != "targets_in_log"
        }
        chosen = replace(sources, options=kept)
        return spread(self._data(chosen, sources.calibration or sources.data), CALIBRATED)

    def _data(self, sources: Sources, path: Path | None) -> CriteoData:
        cache = sources.cache or Path()
        options = dict(sources.options or {})
        targets = "targets_in_log" in options
        if path is None:
            if sources.weights is not None:
                raise InputError("weights of DLRM need the rows they are for: give --data")
            seeded = self.seeded
            offsets, counts = seeded.offsets(), _counts(seeded.shape)
            drawn = seeded.rows(cache)
            return CriteoData("synthetic", seeded.digest, drawn, offsets, counts, True, targets)
        if sources.weights is None:
            raise InputError(
                f"{path}: rows of Criteo need the weights they are for: give --weights"
            )
        shape = self._shape(sources.weights)
        modulus = options.get("max_ind_range")
        rows = open_rows(
            path,
            shape,
            cache,
            int(modulus) if modulus else None,
            sources.reading,
            float(options.get("data_sub_sample_rate", 0)),
            "mlperf_bin_loader" in options,
        )
        aggregation = _aggregation(options)
        offsets = aggregation.offsets(len(rows))
        counts = _counts(shape)
        # What is checked depends on the tables, what is read on the rows and their samples.
        sha256 = hashlib.sha256(offsets.tobytes() + repr(counts).encode())
        for file in rows.files:
            sha256.update(kept_digest(file, cache))
        notes = notes_of(path, rows, shape, options)
        return CriteoData(
            path.name, sha256.hexdigest(), rows, offsets, counts, targets=targets, notes=notes
        )

    def _shape(self, weights: Path | None) -> Shape:
        if weights is None:
            return self.seeded.shape
        from models.criteo.weights import read_mapped, shape_of

        return shape_of(weights, read_mapped(weights))

    def fitting(self, weights: Path) -> Task:
        """The task itself. Raises WeightsError for weights of the other network."""
        crossing = self.seeded.published.cross_rank > 0
        if (self._shape(weights).cross_rank > 0) != crossing:
            raise WeightsError(
                f"{weights}: weights of {'DLRM' if crossing else 'DLRM-v2'}, not of {self.title};"
                f" run {'dlrm' if crossing else 'dlrm-v2'}"
            )
        return self

    def graph(self, part: str, weights: Path | None) -> torch.nn.Module:
        """The whole network in float32; tables of a checkpoint are read when they are used."""
        if weights is None:
            return synthetic.network(self.seeded.shape)
        from models.criteo.weights import network

        return network(weights)

    def sizes(self, weights: Path | None) -> Mapping[str, Any]:
        """The network's shape."""
        return asdict(self._shape(weights))

    def skeleton(self, part: str, sizes: Mapping[str, Any]) -> torch.nn.Module:
        """The network without values; its tables have no rows."""
        from models.criteo.network import DLRM

        return DLRM(shape_from(sizes))

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Sequence[Array]:
        """Return the click-through rates of each sample: float32 [pairs].

        Where samples hold their truth, it stands behind each rate: [pairs, 2].
        """
        network = run["network"]
        views = batch.views("dense")
        dense, sparse = _joined(views), _joined(batch.views("sparse"))
        count = len(dense)
        logits = np.empty(count, np.float32)
        # All about equally long: what is left over would use the caches badly.
        each = -(-count // -(-count // PAIRS))
        for at in range(0, count, each):
            cut = slice(at, at + each)
            logits[cut] = network(dense=dense[cut], sparse=sparse[cut])["logit"]
        # In float64: exp of -90 in float32 would overflow to a warning.
        rates = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
        ends = np.cumsum([len(view) for view in views])[:-1]
        try:
            clicked = _joined(batch.views(CLICKED))
        except KeyError:
            return np.split(rates, ends)
        return np.split(np.stack([rates, clicked.astype(np.float32)], 1), ends)

    def longest_answer(self, largest: Mapping[str, int]) -> int:
        """A rate for each pair of the largest sample, and its truth where samples hold it."""
        pairs = largest["dense"] // (4 * DENSE)
        return (8 if CLICKED in largest else 4) * pairs

    def score(self, answers: Mapping[int, bytes], data: DataSet) -> Score:
        """Return the area under the ROC curve in percent, and MLPerf's line."""
        assert isinstance(data, CriteoData)
        order = sorted(answers)
        predicted = np.frombuffer(b"".join(answers[index] for index in order), "<f4")
        clicked = np.concatenate([data.labels(index) for index in order])
        if len(predicted) == 2 * len(clicked) and (predicted[1::2] == clicked).all():
            predicted = predicted[::2]
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


def _counts(shape: Shape) -> tuple[int, ...]:
    return tuple(int(n) for n in np.repeat(shape.rows, shape.hot))


_S3 = "https://dlrm.s3-us-west-1.amazonaws.com/models/"
DLRM = DLRMTask(
    name="dlrm",
    title="DLRM, Criteo Terabyte",
    seeded=synthetic.V1,
    benchmarks=_benchmarks("dlrm", 80.25, 30, "v3.0"),
    aliases=("dlrm-terabyte", "dlrm-kaggle", "dlrm-v1"),
    published=(
        PublishedFile(
            "tb00_40M.pt",
            _S3 + "tb00_40M.pt",
            "MLPerf's reference in float32, 90 GB, AUC 80.25",
            "md5:2d49a5288cddb37c3c64860a06d79bb9",
        ),
        PublishedFile(
            "tb0875_10M.pt",
            _S3 + "tb0875_10M.pt",
            "the small variant, 12 GB: --max-ind-range 10000000",
            "md5:b7cacffcf75f767faa9cb2af397723aa",
        ),
    ),
)
DLRM_V2 = DLRMTask(
    name="dlrm-v2",
    title="DLRM-v2 (DCN), multi-hot Criteo",
    seeded=synthetic.V2,
    benchmarks=_benchmarks("dlrm-v2", 80.31, 60, "v3.1-v5.1"),
    aliases=("dlrm-dcn", "dlrmv2"),
)
