"""The int8 parts of a transducer: with tiles where the processor has them, else through PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from models.artifact import ArtifactError
from netrun.engines import EngineError
from netrun.engines.rows import Given, stacked
from netrun.engines.tiled import has_tiles
from netrun.engines.transducer import artifact
from netrun.engines.transducer.executor import Joint
from netrun.engines.transducer.gates import Gates

if TYPE_CHECKING:
    from models.task import Array, Part, Run
    from netrun.engines.engine import EngineSpec
    from netrun.engines.laps import Laps

Call = Callable[..., Any]


class Kernels(Protocol):
    """A part; `each` calls its kernels."""

    each: Laps

    @property
    def run(self) -> Call:
        """The part's inputs to its outputs, in order."""


class TransducerEngine:
    """The `onednn` and `pytorch` engines' int8 for the parts of a transducer."""

    def __init__(self, spec: EngineSpec, portable: bool = False) -> None:
        """Map the artifacts, make all kernels; raises EngineError where they do not fit.

        `portable`: by PyTorch's operators, whatever the processor has.
        """
        self.tiles = not portable and runs_on_tiles()
        try:
            arrays = {part.name: artifact.read(spec.file(part)) for part in spec.task.parts}
            parts = (_tiled if self.tiles else _portable)(arrays, spec.threads)
            self._laps = {name: part.each for name, part in parts.items()}
            self.products = {name: artifact.products(arrays[name]) for name in parts}
            """By part: outputs and inputs of each product."""
            self.labels = len(arrays["joint"]["bias"])
            """Blank among them."""
            calls = {name: part.run for name, part in parts.items()}
            calls["joint"] = Joint(arrays["joint"]).run
            self._runs = {part.name: _run(part, calls[part.name]) for part in spec.task.parts}
        except ArtifactError as error:
            raise EngineError(f"{error}; start again, and it is built anew") from None
        except (KeyError, ValueError, OSError) as error:
            raise EngineError(str(error)) from None

    def part(self, name: str) -> Run:
        """What runs a part."""
        return self._runs[name]

    @contextmanager
    def measured(self) -> Iterator[dict[str, dict[str, int]]]:
        """Nanoseconds of each kernel of a part, all its calls together, until the block ends."""
        with ExitStack() as stack:
            yield {name: stack.enter_context(each.measured()) for name, each in self._laps.items()}

    def describe(self) -> dict[str, Any]:
        """What executes the layers."""
        return {"transducer": "AMX tiles" if self.tiles else "PyTorch's oneDNN operators"}


def runs_on_tiles() -> bool:
    """Whether the kernels for AMX run on this processor, which suit all sizes."""
    return has_tiles(Gates(64, 64, 64, 64))


def _tiled(arrays: Mapping[str, artifact.Arrays], threads: int) -> dict[str, Kernels]:
    from netrun.engines.onednn.library import load
    from netrun.engines.transducer.executor import Encoder, Prediction

    lib = load()
    lib.set_threads(threads)
    return {
        "encoder": Encoder(arrays["encoder"], threads, lib.openmp),
        "prediction": Prediction(arrays["prediction"], threads, lib.openmp),
    }


def _portable(arrays: Mapping[str, artifact.Arrays], threads: int) -> dict[str, Kernels]:
    from netrun.engines.transducer.portable import PortableEncoder, PortablePrediction

    return {
        "encoder": PortableEncoder(arrays["encoder"], threads),
        "prediction": PortablePrediction(arrays["prediction"], threads),
    }


def _run(part: Part, call: Call) -> Run:
    names = [field.name for field in part.outputs]

    def run(**inputs: Given) -> Mapping[str, Array]:
        found = call(*stacked(part, inputs))
        outputs = found if isinstance(found, tuple) else (found,)
        return dict(zip(names, outputs, strict=True))

    return run
