"""What an engine is asked to build, and the files it comes to, each built once.

A file's name carries a hash of everything that shaped it, so a stale one is never found; a corrupt
one is built anew. Each part of a task has a file of its own.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from base.errors import InputError
from base.text import slug
from base.unchanged import kept_digest, sha256_of
from models import artifact, program
from models.errors import WeightsError
from models.own.sources import source_hash
from models.task import RANKING
from netrun.engines import EngineError
from netrun.engines.engine import part_file
from netrun.engines.recorder import given_as_they_are, record

if TYPE_CHECKING:
    import torch

    from models.task import Array, Part, Task

QUANTISATION = 3  # raised when the same inputs would give another program
Progress = Callable[[int, int], None]
Notice = Callable[[str], None]
Made = Callable[[Path, bool], None]
Samples = Sequence[Mapping[str, "Array"]]
"""Prepared samples of a data set: each field by name, of one sample."""


def unheard(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def unseen(path: Path, built: bool) -> None:
    """A file that nobody asks for."""


@dataclass(frozen=True)
class Order:
    """A task's parts for one precision, batch size and number of threads.

    `calibration` are samples that int8 ranges are taken from. `notice` is told when a corrupt file
    is replaced, and each time of what in the artifact the user has to know; `made` of each file,
    and whether it was built now. `measuring` is the progress of what is measured to compile, on
    `processors` (those of an instance) where they are given.
    """

    task: Task
    weights: Path | None
    precision: str
    batch_size: int
    threads: int
    cache: Path
    calibration: Samples | None = None
    progress: Progress = unheard
    measuring: Progress = unheard
    notice: Notice = print
    made: Made = unseen
    processors: Collection[int] = field(default=())

    @cached_property
    def origin(self) -> dict[str, Any]:
        """What shapes the networks in fp32: task, weights, PyTorch. Raises WeightsError."""
        return {
            "model": self.task.name,
            "source": _source_hash(type(self.task)),
            "settings": _plain(vars(self.task)),
            "parts": [asdict(part) for part in self.task.parts],
            "weights": None if self.weights is None else weights_hash(self.weights, self.cache),
            "torch": importlib.metadata.version("torch"),
        }

    @cached_property
    def calibrated(self) -> dict[str, Any]:
        """What shapes int8 beside that: calibration samples. Raises EngineError without any."""
        return {"calibration": _samples_hash(self._calibration())}

    @cached_property
    def program_key(self) -> dict[str, Any]:
        """What shapes programs."""
        return {
            **self.origin,
            **self.calibrated,
            "torchao": importlib.metadata.version("torchao"),
            "quantisation": QUANTISATION,
        }

    def ensure(
        self, label: str, key: Mapping[str, Any], kind: str, write: Callable[[Part, Path], None]
    ) -> Path:
        """Have `write` write each part's file, an artifact of `kind`, unless it is there.

        `key` is what shapes the files, in JSON values; `label` stands in their names. Returns the
        first part's file; `part_file` finds the others.
        """
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        base = self.cache / "artifacts" / f"{slug(self.task.name)}-{label}-{digest[:16]}"
        paths = [base.with_name(f"{base.name}.{part.name}") for part in self.task.parts]
        for part, path in zip(self.task.parts, paths, strict=True):
            built = artifact.ensure(path, kind, partial(write, part, path), self.notice)
            self.made(path, built)
        return paths[0]

    def ensure_beside(
        self, label: str, key: Mapping[str, Any], kind: str, write: Callable[[Path], None]
    ) -> Path:
        """The same of one file that is no part's: what parts share, or only some of them need."""
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        path = self.cache / "artifacts" / f"{slug(self.task.name)}-{label}-{digest[:16]}"
        self.made(path, artifact.ensure(path, kind, partial(write, path), self.notice))
        return path

    def graph(self, part: Part) -> torch.nn.Module | Path:
        """The part in fp32, with the weights that `origin` has the hash of."""
        self._exported(part)
        graph = self.task.graph(part.name, self.weights)
        self._unchanged()
        return graph

    def _unchanged(self) -> None:
        if self.weights is None:
            return
        if weights_hash(self.weights, self.cache) != self.origin["weights"]:
            raise WeightsError(f"{self.weights}: changed while it was read; run it again")

    def module(self, part: Part, engine: str) -> torch.nn.Module:
        """The part in fp32 where it must be a module; raises EngineError for an ONNX file."""
        cure = "choose --engine onnxruntime or openvino"
        try:
            graph = self.task.module(part.name, self.weights)
        except WeightsError as error:
            if self.task.network_file is None:
                raise
            raise EngineError(f"{error}: {cure}") from None
        self._unchanged()
        if isinstance(graph, Path):
            raise EngineError(f"{graph}: engine {engine} runs no ONNX files; {cure}")
        return graph

    def samples(self) -> Samples:
        """The calibration samples. Raises EngineError where there are none."""
        return self._calibration()

    def inputs(self, part: Part) -> Samples:
        """What the part is given for the calibration samples, of one row each."""
        self._exported(part)
        return self._inputs[part.name]

    def _exported(self, part: Part) -> None:
        """Raise EngineError where other engines' models cannot hold the part."""
        if part.form == RANKING:
            raise EngineError(
                f"{self.task.name}: only onednn and pytorch keep embedding tables in a file that"
                " instances share; choose one of them (--engine)"
            )

    @cached_property
    def _inputs(self) -> Mapping[str, Samples]:
        samples = self._calibration()
        if given_as_they_are(self.task, samples):
            return {self.task.parts[0].name: samples}
        return record(self.task, samples, lambda part: self.module(part, "pytorch"), self.progress)

    def programs(self) -> Path:
        """The parts as int8 programs (`models.program`), which depend on no machine."""

        def write(part: Part, path: Path) -> None:
            from models.quantize.deploy import UnsupportedNetworkError
            from models.quantize.part import quantise_part

            other = "choose --precision fp32 or bf16 (with --engine pytorch)"
            module = self.module(part, "onednn")
            try:
                made = quantise_part(module, part, self.inputs(part), self.progress)
            except UnsupportedNetworkError as error:
                raise EngineError(
                    f"{self.task.name} cannot run in int8: {error}; {other}"
                ) from None
            except ValueError as error:
                raise InputError(
                    f"{self.task.name} cannot be calibrated: {error}; give other images"
                    f" (--calibration DIR) or {other}"
                ) from None
            made.save(path, self.program_key)

        return self.ensure("int8", self.program_key, program.KIND, write)

    def program_of(self, programs: Path, part: Part) -> program.Program:
        """A part's program."""
        return program.load(part_file(programs, part))[0]

    def _calibration(self) -> Samples:
        if self.calibration is None:
            raise EngineError("int8 needs calibration images: give --calibration DIR")
        return self.calibration


def weights_hash(path: Path, cache: Path | None = None) -> str:
    """SHA-256 of a weights file; raises WeightsError where it cannot be read.

    That of a large file is kept in `cache`.
    """
    try:
        return sha256_of(path) if cache is None else kept_digest(path, cache).hex()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None


def _samples_hash(samples: Samples) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        for name in sorted(sample):
            array = np.ascontiguousarray(sample[name])
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.data)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """What of a value is plain data, as JSON values."""
    if is_dataclass(value):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else None


def _source_hash(kind: type) -> str | None:
    """SHA-256 of the source that defines a task: its file, or its package's files.

    A user's own network has no version that changes with it.
    """
    if own := source_hash(kind):
        return own
    try:
        file = Path(inspect.getfile(kind))
    except (TypeError, OSError):
        return None
    files = sorted(file.parent.glob("*.py")) if file.name == "__init__.py" else [file]
    digest = hashlib.sha256()
    for each in files:
        digest.update(each.read_bytes())
    return digest.hexdigest()
