"""``python -m bench.dlrm``: pairs a second of DLRM (v1, or v2 with --network dlrm-v2) on one core.

Contestants take turns. All have the same seeded network and look up the same random rows, drawn
anew for each call, in tables that no cache holds: ours int8 from a mapped file, PyTorch the eager
network in float32 and bfloat16, OpenVINO (where it is installed) in float32 and with its hint for
bfloat16. A figure is the best of all turns. Beside them: what looks rows up, alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.host import host
from models.criteo.shapes import MULTIHOT, TERABYTE_40M
from models.criteo.synthetic import draw
from models.ranking import Shape

REFERENCE = "PyTorch eager fp32"
MOST_ERROR = 0.2
NETWORKS = {"dlrm": TERABYTE_40M, "dlrm-v2": MULTIHOT}
MEAN = 270
"""Pairs of a sample of MLPerf's."""
Run = Callable[[NDArray[np.float32], NDArray[np.int32]], Any]


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="dlrm")
    parser.add_argument("--rows", type=int, default=150_000, help="of each of the 26 tables")
    parser.add_argument("--pairs", type=int, default=2048, help="of a call")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {chosen.core})
    shape = replace(NETWORKS[chosen.network], rows=(chosen.rows,) * 26)
    with tempfile.TemporaryDirectory(prefix="loadrun-dlrm-") as folder:
        contestants = _contestants(shape, Path(folder))
        random = np.random.default_rng(0)
        best: dict[str, float] = {}
        dense, sparse = draw(shape, chosen.pairs, 2)
        _check(contestants, dense, sparse)
        for _ in range(chosen.turns):
            for name, run in contestants.items():
                # As many fresh rows as a call looks up, so that none is still in a cache.
                sparse = random.integers(0, chosen.rows, sparse.shape, dtype=np.int32)
                began = time.perf_counter()
                run(dense, sparse)
                best[name] = min(best.get(name, 9e9), time.perf_counter() - began)
        rates = {name: chosen.pairs / seconds for name, seconds in best.items()}
    found = {
        "host": host(),
        "rows": chosen.rows,
        "pairs": chosen.pairs,
        "pairs_per_s": rates,
        "macs_per_pair": shape.macs,
    }
    if chosen.json:
        print(json.dumps(found, indent=1))
        return
    ours = rates["loadrun int8"]
    for name, rate in rates.items():
        samples = f"{rate / MEAN:8,.0f} samples/s"
        print(f"{name:24} {rate:10,.0f} pairs/s  {samples}  ours is {ours / rate:.2f} x")


def _contestants(shape: Shape, folder: Path) -> dict[str, Run]:
    import torch

    from models.criteo.network import DLRM
    from models.quantize.ranking import quantise
    from netrun.engines.amx import supported
    from netrun.engines.onednn.library import load
    from netrun.engines.ranking import tables
    from netrun.engines.ranking.portable import PortableRanking
    from netrun.engines.ranking.tiles import Kernels

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network: Any = DLRM(shape).eval()
    network.tables.weight = torch.randn(sum(shape.rows), shape.width) * shape.width**-0.25
    network.tables.weight /= max(shape.hot) ** 0.5
    made = quantise(network, *draw(shape, 4096, 1))
    tables.write(folder / "tables", network.tables.arrays(), "int8", {})
    stored = tables.read(folder / "tables")
    weight, scales = stored.arrays["weight"], stored.arrays["scales"]
    lib = load()
    lib.set_threads(1)
    given = (shape, made.arrays, made.stored, weight, scales, 1)
    found: dict[str, Run] = {}
    portable = PortableRanking(*given).run
    found["loadrun int8"] = portable
    kernels = Kernels(shape)
    if supported(lib.isa, kernels):
        executor = kernels.make(*given[1:], lib.openmp)
        found["loadrun int8"] = executor.run
        found["loadrun int8, PyTorch"] = portable
        found["  its lookups"] = _lookups(executor)

    def eager(module: Any) -> Run:
        def run(dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> Any:
            with torch.inference_mode():
                return module(torch.from_numpy(dense), torch.from_numpy(sparse))

        return run

    found[REFERENCE] = eager(network)
    low: Any = DLRM(shape).eval()
    low.load_state_dict(network.state_dict())
    low = low.bfloat16()
    low.tables.weight = network.tables.weight.bfloat16()
    found["PyTorch eager bf16"] = eager(low)
    if importlib.util.find_spec("openvino"):
        found |= _openvino(network, shape)
    return found


def _check(
    contestants: dict[str, Run], dense: NDArray[np.float32], sparse: NDArray[np.int32]
) -> None:
    """Raise ValueError unless all give about the same logits: else speed means nothing."""
    expected = _logits(contestants[REFERENCE](dense, sparse))
    for name, run in contestants.items():
        if not name.startswith(" "):
            error = np.std(_logits(run(dense, sparse)) - expected) / np.std(expected)
            if not error < MOST_ERROR:
                raise ValueError(f"{name}: its logits differ by {error:.3f} of their spread")


def _logits(found: Any) -> NDArray[np.float32]:
    array = found.float().numpy() if hasattr(found, "float") else found
    return np.asarray(array if isinstance(array, np.ndarray) else array[0], np.float32)


def _lookups(executor: Any) -> Run:
    """The kernel that looks rows up, and multiplies or adds them, alone."""

    def run(dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> None:
        for first in range(0, len(sparse), executor.chunk):
            executor.look_up(sparse[first : first + executor.chunk])

    return run


def _openvino(network: Any, shape: Shape) -> dict[str, Run]:
    import openvino
    import torch

    example = (torch.zeros(8, 13), torch.zeros(8, shape.lookups, dtype=torch.int32))
    model = openvino.convert_model(network, example_input=example)
    core = openvino.Core()
    found: dict[str, Run] = {}
    for name in ("f32", "bf16"):
        compiled = core.compile_model(
            model,
            "CPU",
            {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": name, "NUM_STREAMS": 1},
        )
        request = compiled.create_infer_request()

        def run(
            dense: NDArray[np.float32], sparse: NDArray[np.int32], request: Any = request
        ) -> Any:
            return request.infer([dense, sparse])

        found[f"OpenVINO {name}"] = run
    return found


if __name__ == "__main__":
    main()
