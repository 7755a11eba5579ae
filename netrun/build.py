"""From weights and calibration samples to the artifact that an engine executes, built once.

Two files stand in the cache. A program (`models.program`) depends on weights and calibration alone
and takes seconds to a minute to make; an artifact is that program compiled for this machine, batch
size and number of threads, in a fraction of a second. Their names carry a hash of everything that
shaped them, so a stale one is never found; a corrupt one is built anew.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import models
from base.affinity import threads_kept_on
from base.errors import InputError
from base.unchanged import sha256_of
from models import artifact, program
from netrun.engines import EngineError
from netrun.engines.onednn.measure import unheard

QUANTISATION = 3  # raised when the same inputs would give another program
Progress = Callable[[int, int], None]
Notice = Callable[[str], None]
Made = Callable[[Path, bool], None]


def untold(path: Path, built: bool) -> None:
    """Tell nobody."""


def ensure_artifact(
    model_name: str,
    weights: Path,
    calibration: NDArray[np.uint8] | None,
    precision: str,
    engine: str,
    batch_size: int,
    threads: int,
    cache: Path,
    progress: Progress,
    notice: Notice = print,
    made: Made = untold,
    measuring: Progress = unheard,
    processors: Collection[int] = (),
) -> Path:
    """The artifact for `engine`, found in `cache` or built there.

    `calibration` holds int8 calibration samples, uint8 (n, H, W, C); it is not used by fp32 and
    bf16. `notice` is told when a corrupt file is replaced, and each time of what in the artifact
    the user has to know; `made` of each file, the program first, and whether it was built now.
    `measuring` is the progress of what is measured to compile, on `processors` (those of an
    instance) where they are given. Raises models.WeightsError for weights that do not fit,
    InputError for samples that cannot be calibrated on, EngineError where the engine cannot be used
    here or cannot execute the network.
    """
    origin: dict[str, Any] = {
        "model": model_name,
        "weights": weights_hash(weights),
        "torch": importlib.metadata.version("torch"),
    }
    if precision != "int8":
        path = _path(cache, f"{model_name}-float", origin)

        def save() -> None:
            from netrun.engines.pytorch.engine import save_network

            network = _load(model_name, weights, origin["weights"])
            save_network(network, path, {"weights": weights.name})

        made(path, artifact.ensure(path, "network", save, notice))
        return path
    if calibration is None:
        raise EngineError("int8 needs calibration images: give --calibration DIR")
    samples = np.ascontiguousarray(calibration)
    origin |= {
        "calibration": hashlib.sha256(samples.tobytes()).hexdigest(),
        "torchao": importlib.metadata.version("torchao"),
        "quantisation": QUANTISATION,
        "sample": asdict(models.get(model_name).sample),
    }
    source = _path(cache, f"{model_name}-int8", origin)

    def quantise() -> None:
        from models.quantize.calibrate import quantize
        from models.quantize.deploy import UnsupportedNetworkError

        model = models.get(model_name)
        network = _load(model_name, weights, origin["weights"])
        try:
            quantised = quantize(network, model.sample, samples, progress)
        except UnsupportedNetworkError as error:
            raise EngineError(
                f"{model_name} cannot run in int8: {error}; choose --precision fp32 or bf16 (with"
                " --engine pytorch)"
            ) from None
        except ValueError as error:
            raise InputError(
                f"{model_name} cannot be calibrated: {error}; give other images (--calibration "
                "DIR) or choose --precision fp32 or bf16 (with --engine pytorch)"
            ) from None
        quantised.save(source, origin)

    made(source, artifact.ensure(source, program.KIND, quantise, notice))
    if engine != "onednn":
        return source
    return _compile(source, origin, batch_size, threads, cache, notice, made, measuring, processors)


def _compile(
    source: Path,
    origin: dict[str, Any],
    batch_size: int,
    threads: int,
    cache: Path,
    notice: Notice,
    made: Made,
    measuring: Progress,
    processors: Collection[int],
) -> Path:
    from netrun.engines.onednn import compiler, library, pack, references

    try:
        machine = pack.machine_facts(library.load(), batch_size, threads)
    except library.OneDNNError as error:
        raise EngineError(str(error)) from None
    name = f"{origin['model']}-onednn-b{batch_size}-t{threads}"
    path = _path(cache, name, {**origin, **machine})

    def build() -> None:
        loaded, _ = program.load(source)
        with threads_kept_on(processors):
            compiler.compile_program(loaded, path, batch_size, threads, origin, measuring)

    made(path, artifact.ensure(path, pack.KIND, build, notice))
    slow = references.notice(artifact.read_facts(path, pack.KIND)["references"])
    if slow is not None:
        notice(slow)
    return path


def _load(model_name: str, weights: Path, sha256: str) -> Any:
    """The network with these weights, which must still be those with that hash."""
    network = models.get(model_name).load_weights(weights)
    if weights_hash(weights) != sha256:
        raise models.WeightsError(f"{weights}: changed while it was read; run it again")
    return network


def _path(cache: Path, name: str, key: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache / "artifacts" / f"{name}-{digest[:16]}"


def weights_hash(path: Path) -> str:
    """SHA-256 of a weights file; raises models.WeightsError where it cannot be read."""
    try:
        return sha256_of(path)
    except OSError as error:
        raise models.WeightsError(f"{path}: cannot be read ({error.strerror})") from None
