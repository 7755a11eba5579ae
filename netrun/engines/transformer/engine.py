"""The int8 encoder of a part: with tiles where the processor has them, else through PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.artifact import ArtifactError
from netrun.engines import EngineError
from netrun.engines.tiled import has_tiles
from netrun.engines.transformer import artifact
from netrun.engines.transformer.executor import Executor

if TYPE_CHECKING:
    from models.task import Run
    from netrun.engines.engine import EngineSpec

LONGEST = 512
"""Tokens of the longest sequence that there are kernels for: BERT's positions."""


class Runs(Protocol):
    """Runs an encoder on a stream of tokens."""

    def run(
        self, ids: NDArray[np.int32], positions: NDArray[np.int32], types: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Logits of each token."""
        ...


class EncoderEngine:
    """The `onednn` and `pytorch` engines' int8 for parts that are encoders."""

    def __init__(self, spec: EngineSpec, portable: bool = False) -> None:
        """Map the artifacts; raises EngineError where they do not fit.

        `portable`: by PyTorch's operators, whatever the processor has.
        """
        tiles = False if portable else None
        try:
            self._runs = {
                part.name: EncoderRun(spec.file(part), spec.threads, tiles)
                for part in spec.task.parts
            }
        except ArtifactError as error:
            raise EngineError(f"{error}; start again, and it is built anew") from None
        except (KeyError, ValueError, OSError) as error:
            raise EngineError(str(error)) from None

    def part(self, name: str) -> Run:
        """What runs a part."""
        return self._runs[name]

    def describe(self) -> dict[str, Any]:
        """What executes the encoders."""
        first, *_ = self._runs.values()
        return first.describe()


class EncoderRun:
    """A part as an int8 encoder; call it with the part's inputs by name.

    `tiles`: whether to use the kernels for AMX; None where there are some for this processor.
    """

    def __init__(self, path: Path, threads: int, tiles: bool | None = None) -> None:
        """Map the artifact and make all kernels.

        Raises EngineError where there are none, and models.artifact.ArtifactError.
        """
        arrays, shape = artifact.read(path)
        self.shape = shape
        longest = min(LONGEST, len(arrays["embedding.positions"]))
        usable = has_tiles(shape)
        if tiles and not usable:
            raise EngineError("this processor has no AMX: choose another engine")
        self.tiles = usable if tiles is None else tiles
        self._runs: Runs
        if self.tiles:
            from netrun.engines.onednn.library import load

            lib = load()
            lib.set_threads(threads)
            self._runs = Executor(arrays, shape, longest, threads, lib.openmp)
        else:
            from netrun.engines.transformer.portable import PortableEncoder

            self._runs = PortableEncoder(arrays, shape, threads)

    def __call__(
        self,
        input_ids: NDArray[np.int32],
        positions: NDArray[np.int32],
        types: NDArray[np.int32],
    ) -> dict[str, NDArray[np.float32]]:
        """Logits [tokens, 2] by the output's name."""
        return {"logits": self._runs.run(input_ids, positions, types)}

    def profile(
        self,
        input_ids: NDArray[np.int32],
        positions: NDArray[np.int32],
        types: NDArray[np.int32],
    ) -> dict[str, int]:
        """Nanoseconds of each kernel of one call; EngineError where there are no kernels."""
        if not isinstance(self._runs, Executor):
            raise EngineError(
                "without AMX an encoder runs through PyTorch's operators,"
                " which are not measured one by one"
            )
        return self._runs.profile(input_ids, positions, types)

    def describe(self) -> dict[str, Any]:
        """What executes the encoder."""
        return {"encoder": "AMX tiles" if self.tiles else "PyTorch's oneDNN operators"}
