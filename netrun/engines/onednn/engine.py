"""The `onednn` engine: a compiled int8 program and a model's postprocessing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import models
from models import artifact
from netrun.engines import Answer, EngineError
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.batches import otherwise
from netrun.engines.onednn.executor import Executor
from netrun.engines.onednn.pack import KIND

if TYPE_CHECKING:
    from netrun.config import NetrunConfig


class OneDNNEngine:
    """Executes an artifact of `pack.compile_program`; raises EngineError where it does not fit."""

    def __init__(self, config: NetrunConfig) -> None:
        self._model = models.get(config.model)
        try:
            compiled = artifact.read(Path(config.artifact), KIND)
            self._facts = compiled.facts
            self._executor = Executor(compiled, config.batch_size, config.threads)
        except artifact.ArtifactError as error:
            raise EngineError(f"{error}; start again, and it is built anew") from None
        except (dnn.OneDNNError, KeyError, ValueError) as error:
            raise EngineError(str(error)) from None

    def prepare(self) -> None:
        """Create the primitives of every batch size up to the largest."""
        self._executor.prepare()

    def infer(self, samples: NDArray[np.uint8], positions: Sequence[int]) -> Answer:
        """Run the network on ``samples[positions]`` and postprocess its outputs."""
        return Answer(*self._model.postprocess(self._executor.run(samples, positions)))

    def describe(self) -> dict[str, Any]:
        """oneDNN's version and instruction set, uses of each kernel, and how batches are run.

        A stage is (number of operations, samples of a chunk); `batch_ms` are the times of 1, 2, ...
        samples when the artifact was built. `batches` holds the sizes that run instead of those
        that do not run as they are; `references` as in the artifact (see `compiler`).
        """
        lib, facts = dnn.load(), self._facts
        chosen = Counter(kernel.implementation for kernel in self._executor.kernels())
        return {
            "onednn": lib.version,
            "isa": dnn.ISA_NAMES.get(lib.isa, hex(lib.isa)),
            "kernels": dict(chosen.most_common()),
            "stages": [[len(stage.operations), stage.chunk] for stage in self._executor.stages],
            "cut": facts["cut"],
            "batch_ms": facts["batch_ms"],
            "batches": {str(n): sizes for n, sizes in otherwise(facts["batches"]).items()},
            "references": facts["references"],
        }
