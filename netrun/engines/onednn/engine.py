"""The `onednn` engine: compiled int8 programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models import artifact
from netrun.engines import EngineError
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.batches import otherwise
from netrun.engines.onednn.executor import Executor, Rows
from netrun.engines.onednn.pack import KIND
from netrun.engines.rows import Given, check_names

if TYPE_CHECKING:
    from models.task import Array, Part, Run
    from netrun.engines.engine import EngineSpec


class OneDNNEngine:
    """Executes artifacts of `compiler.compile_program`; raises EngineError where one does not fit.

    Rows are read where they lie, wherever a chunk's samples are neighbours.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._facts: dict[str, dict[str, Any]] = {}
        self._executors: dict[str, Executor] = {}
        self._runs: dict[str, Run] = {}
        try:
            for part in spec.task.parts:
                compiled = artifact.read(spec.file(part), KIND)
                executor = Executor(compiled, spec.batch_size, spec.threads)
                executor.prepare()
                self._facts[part.name] = compiled.facts
                self._executors[part.name] = executor
                self._runs[part.name] = _run(executor, part)
        except artifact.ArtifactError as error:
            raise EngineError(f"{error}; start again, and it is built anew") from None
        except (dnn.OneDNNError, KeyError, ValueError) as error:
            raise EngineError(str(error)) from None

    def part(self, name: str) -> Run:
        """What runs a part."""
        return self._runs[name]

    def describe(self) -> dict[str, Any]:
        """oneDNN's version and instruction set; of each part kernels, and how batches are run.

        A stage is (number of operations, samples of a chunk); `batch_ms` are the times of 1, 2, ...
        samples when the artifact was built. `batches` holds the sizes that run instead of those
        that do not run as they are; `references` as in the artifact (see `compiler`). What is of
        the first part stands beside the version, that of others under `parts`.
        """
        lib = dnn.load()
        first, *others = self._facts
        found = {
            "onednn": lib.version,
            "isa": dnn.ISA_NAMES.get(lib.isa, hex(lib.isa)),
            **self._described(first),
        }
        if others:
            found["parts"] = {name: self._described(name) for name in others}
        return found

    def _described(self, part: str) -> dict[str, Any]:
        facts, executor = self._facts[part], self._executors[part]
        chosen = Counter(kernel.implementation for kernel in executor.kernels())
        return {
            "kernels": dict(chosen.most_common()),
            "stages": [[len(stage.operations), stage.chunk] for stage in executor.stages],
            "cut": facts["cut"],
            "batch_ms": facts["batch_ms"],
            "batches": {str(n): sizes for n, sizes in otherwise(facts["batches"]).items()},
            "references": facts["references"],
        }


def _run(executor: Executor, part: Part) -> Run:
    """A program has one input; its outputs are in the order of the part's."""
    (source,) = part.inputs
    names = [field.name for field in part.outputs]
    most = executor.batch_size

    def run(**inputs: Given) -> Mapping[str, Array]:
        check_names(part, inputs)
        rows = inputs[source.name]
        if len(rows) <= most:
            executor.infer(rows)
            outputs = executor.results(len(rows))
        else:
            outputs = _in_turn(executor, rows, most)
        return dict(zip(names, outputs, strict=True))

    return run


def _in_turn(executor: Executor, rows: Rows, most: int) -> list[NDArray[Any]]:
    """The outputs of more rows than a batch has."""
    found = []
    for start in range(0, len(rows), most):
        some = rows[start : start + most]
        executor.infer(some)
        found.append([output.copy() for output in executor.results(len(some))])
    return [np.concatenate(outputs) for outputs in zip(*found, strict=True)]
