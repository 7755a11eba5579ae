"""Parts in OpenVINO's representation: converted, quantised, kept as a mapped file's bytes.

arrays     graph       the network's structure, XML
           weights     its constants
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from base.errors import InputError
from models import artifact
from netrun.engines import EngineError
from netrun.engines.examples import examples
from netrun.engines.order import Progress, Samples

if TYPE_CHECKING:
    import torch

    from models.task import Array, Field, Part

KIND = "openvino"
GRAPH, WEIGHTS = "graph", "weights"
TELEMETRY = "openvino_telemetry"


def save(
    graph: torch.nn.Module | Path,
    part: Part,
    inputs: Samples,
    path: Path,
    facts: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Write `graph`, quantised by `inputs` where there are any, as an artifact.

    Raises EngineError for what cannot be converted, InputError for what cannot be calibrated on.
    """
    # What is converted here is nobody else's business.
    sys.modules.setdefault(TELEMETRY, None)  # type: ignore[arg-type]
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        with _quiet():
            model = _converted(graph, part, inputs)
            if inputs:
                model = _quantised(model, part, inputs, progress)
            file = Path(folder) / "part.xml"
            openvino.save_model(model, file, compress_to_fp16=False)
        written = {GRAPH: file, WEIGHTS: file.with_suffix(".bin")}
        arrays = {
            name: np.memmap(source, np.uint8, "r") if source.stat().st_size else np.empty(0, "u1")
            for name, source in written.items()
        }
        artifact.write(path, KIND, facts, arrays)


def port(ports: list[Any], field: Field, at: int) -> int:
    """The number of the port of that name, else the one at the field's place."""
    for number, each in enumerate(ports):
        if field.name in each.get_names():
            return number
    return at


def _converted(graph: torch.nn.Module | Path, part: Part, inputs: Samples) -> Any:
    import openvino

    if isinstance(graph, Path):
        try:
            return openvino.Core().read_model(graph)
        except RuntimeError as error:
            raise EngineError(f"{graph}: OpenVINO cannot read it ({_first(error)})") from None
    import torch

    given = tuple(torch.from_numpy(array) for array in examples(part, inputs))
    try:
        model = openvino.convert_model(graph.eval(), example_input=given)
        model.reshape(
            {
                port(model.inputs, field, at): [-1, *(-1 if s is None else s for s in field.shape)]
                for at, field in enumerate(part.inputs)
            }
        )
    except Exception as error:
        # Classes of its own, of tracing and of PyTorch: none that could be listed.
        raise EngineError(
            f"part {part.name}: OpenVINO cannot convert it ({_first(error)}); choose --engine"
            " pytorch"
        ) from None
    return model


def _quantised(model: Any, part: Part, inputs: Samples, progress: Progress) -> Any:
    import nncf

    places = [port(model.inputs, field, at) for at, field in enumerate(part.inputs)]
    convolutions = any(node.get_type_name() == "Convolution" for node in model.get_ops())
    try:
        return nncf.quantize(
            model,
            nncf.Dataset(range(len(inputs)), _feed(part, inputs, places, progress)),
            subset_size=len(inputs),
            model_type=None if convolutions else nncf.ModelType.TRANSFORMER,
        )
    except (RuntimeError, ValueError, nncf.ValidationError) as error:
        raise InputError(
            f"part {part.name} cannot be calibrated: {_first(error)}; give other samples"
            " (--calibration) or choose --precision fp32 or bf16"
        ) from None


def _feed(
    part: Part, inputs: Samples, places: list[int], progress: Progress
) -> Callable[[int], dict[int, Array]]:
    def feed(number: int) -> dict[int, Array]:
        progress(number + 1, len(inputs))
        sample = inputs[number]
        return {
            place: sample[field.name][None]
            for place, field in zip(places, part.inputs, strict=True)
        }

    return feed


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and warnings that libraries print."""
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with (
        warnings.catch_warnings(),
        Path(os.devnull).open("w", encoding="utf-8") as nothing,
        redirect_stdout(nothing),
        redirect_stderr(nothing),
    ):
        warnings.simplefilter("ignore")
        yield


def _first(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip()[:300] if lines else type(error).__name__
