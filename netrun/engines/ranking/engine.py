"""Ranking networks as the `onednn` and `pytorch` engines run them, in every precision."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models import artifact
from models.ranking import Stored, shape_from
from netrun.engines import EngineError
from netrun.engines.ranking import tables
from netrun.engines.ranking.build import KIND, TABLES
from netrun.engines.ranking.executor import Executor
from netrun.engines.ranking.tiles import Kernels
from netrun.engines.rows import Given, stacked
from netrun.engines.tiled import has_tiles

if TYPE_CHECKING:
    from pathlib import Path

    from models.artifact import Artifact
    from models.task import Array, Part, Run
    from netrun.engines.engine import EngineSpec


class Runs(Protocol):
    """Runs a network on pairs."""

    def run(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits float32 [n] of pairs: float32 [n, 13], int32 [n, lookups]."""
        ...


def executor(path: Path, threads: int) -> Executor:
    """An int8 network on kernels for AMX; EngineError where there are none for it."""
    network = artifact.read(path, KIND)
    runs, how = _int8(network, _tables(network), threads, portable=False)
    if not isinstance(runs, Executor):
        raise EngineError(f"the network runs through {how}, which are not measured one by one")
    return runs


class RankingEngine:
    """A task's ranking network, its tables mapped.

    int8 uses the kernels for AMX where there are some for this processor, unless `portable`.
    """

    def __init__(self, spec: EngineSpec, portable: bool = False) -> None:
        """Map the artifacts; raises EngineError where they do not fit."""
        (part,) = spec.task.parts
        try:
            if spec.precision == "int8":
                network = artifact.read(spec.file(part), KIND)
                mapped = _tables(network)
                self._runs, how = _int8(network, mapped, spec.threads, portable)
            else:
                from netrun.engines.pytorch.stored import KIND as NETWORK

                network = artifact.read(spec.file(part), NETWORK)
                mapped = _tables(network)
                self._runs, how = _eager(spec, part, network, mapped), "PyTorch, eager"
            self._part, self._rows = part, np.repeat(mapped.facts["rows"], _hot(network))
        except artifact.ArtifactError as error:
            raise EngineError(f"{error}; start again, and it is built anew") from None
        except (KeyError, ValueError, TypeError, RuntimeError, OSError) as error:
            raise EngineError(str(error).partition("\n")[0]) from None
        size = mapped.arrays["weight"].nbytes
        self._described = {
            "ranking": how,
            "tables": f"{spec.precision}, {size / 1e9:.2f} GB mapped",
        }

    def part(self, name: str) -> Run:
        """What runs the part. ValueError for pairs that look up rows that no table has."""
        return self._run

    def describe(self) -> dict[str, Any]:
        """What executes the network, and how large its tables are."""
        return self._described

    def _run(self, **inputs: Given) -> Mapping[str, Array]:
        dense, sparse = stacked(self._part, inputs)
        # What a wrong index reads may be anything, or end the process.
        if len(sparse) and (sparse.min() < 0 or (sparse.max(0) >= self._rows).any()):
            raise ValueError("a pair looks up a row that no table has")
        return {self._part.outputs[0].name: self._runs.run(dense, sparse)}


def _hot(network: Artifact) -> list[int]:
    facts = network.facts
    found: list[int] = (facts["shape"] if "shape" in facts else facts["sizes"])["hot"]
    return found


def _tables(network: Artifact) -> Artifact:
    return tables.read(network.path.with_name(str(network.facts[TABLES])))


def _int8(network: Artifact, mapped: Artifact, threads: int, portable: bool) -> tuple[Runs, str]:
    shape = shape_from(network.facts["shape"])
    stored = {name: Stored(**one) for name, one in network.facts["stored"].items()}
    weight, scales = mapped.arrays["weight"], mapped.arrays["scales"]
    kernels = Kernels(shape)
    if not portable and has_tiles(kernels):
        from netrun.engines.onednn.library import load

        lib = load()
        lib.set_threads(threads)
        runs = kernels.make(network.arrays, stored, weight, scales, threads, lib.openmp)
        return runs, "AMX tiles"
    from netrun.engines.ranking.portable import PortableRanking

    given = (shape, network.arrays, stored, weight, scales, threads)
    return PortableRanking(*given), "PyTorch's oneDNN operators"


def _eager(spec: EngineSpec, part: Part, network: Artifact, mapped: Artifact) -> Runs:
    import torch

    from netrun.engines.pytorch.network import load

    torch.set_num_threads(spec.threads)
    module: Any = load(partial(spec.task.skeleton, part.name, network.facts["sizes"]), network)
    weight = torch.from_numpy(mapped.arrays["weight"])
    module.tables.weight = weight.view(torch.bfloat16) if spec.precision == "bf16" else weight
    return Eager(module)


class Eager:
    """A module in PyTorch, as it is written."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def run(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits of pairs."""
        import torch

        with torch.inference_mode():
            logits = self._module(torch.from_numpy(dense), torch.from_numpy(sparse))
        found: NDArray[np.float32] = logits.float().numpy()
        return found
