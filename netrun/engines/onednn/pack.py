"""Compile a program for this machine: weights in the layout that the kernels here want.

The result is an artifact that instances map read-only, so that the packed weights of all of them
are the same physical pages. What shaped it (library, instruction set, threads, batch size) stands
in its facts and is compared when it is loaded.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import artifact
from models.program import Convolution, Linear, Program
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.primitives import folded_constants, make_kernel, plain_weights
from netrun.engines.onednn.stages import cache_bytes, cut

KIND = "onednn-int8"
PACKING = 1  # raised when the same program would give another artifact
_IDENTITY = re.compile(r"^(vendor_id|cpu family|model|cache size)\s*: (.*)$", re.MULTILINE)


def machine_facts(lib: dnn.Library, batch_size: int, threads: int) -> dict[str, Any]:
    """What, besides the program, decides the layout of packed weights."""
    return {
        "packing": PACKING,
        "library": lib.version,
        "isa": lib.isa,
        "processor": processor(),
        "cache": cache_bytes(threads),
        "batch_size": batch_size,
        "threads": threads,
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Maker, family, model and cache size of the first processor.

    Kernels block weights by the size of caches, so that two processors with the same instruction
    set may want other layouts.
    """
    try:
        first = cpuinfo.read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return []
    return [value for _, value in _IDENTITY.findall(first)]


def compile_program(
    program: Program, path: Path, batch_size: int, threads: int, facts: dict[str, Any]
) -> None:
    """Pack the weights of `program` and write the artifact to `path`."""
    lib = dnn.load()
    lib.set_threads(threads)
    arrays: dict[str, NDArray[Any]] = {}
    for stage in cut(program, batch_size, cache_bytes(threads)):
        for operation in stage.operations:
            if isinstance(operation, (Convolution, Linear)):
                arrays.update(folded_constants(program, operation))
                arrays[f"{operation.name}.packed"] = _packed(lib, program, operation, stage.chunk)
    # Shapes alone are needed to build kernels again; the plain weights stay behind.
    shapes = {n: list(a.shape) for n, a in program.constants.items() if n.endswith(".weight")}
    header = {
        **facts,
        "machine": machine_facts(lib, batch_size, threads),
        "program": program.describe(),
        "weight_shapes": shapes,
    }
    artifact.write(path, KIND, header, arrays)


def _packed(
    lib: dnn.Library, program: Program, operation: Convolution | Linear, samples: int
) -> NDArray[np.uint8]:
    kernel = make_kernel(lib, program, operation, samples)
    assert kernel.weights is not None
    plain = np.ascontiguousarray(program.constants[f"{operation.name}.weight"])
    packed = np.zeros(lib.size(kernel.weights), np.uint8)
    source = plain_weights(lib, program, operation)
    attributes = lib.create("dnnl_primitive_attr_create")
    reorder = lib.create(
        "dnnl_primitive_create",
        lib.create(
            "dnnl_reorder_primitive_desc_create",
            *(source, lib.engine, kernel.weights, lib.engine, attributes),
        ),
    )
    arguments = dnn.exec_args(
        (dnn.ARG_SRC, lib.memory(source, plain.ctypes.data)),
        (dnn.ARG_DST, lib.memory(kernel.weights, packed.ctypes.data)),
    )
    lib.call("dnnl_primitive_execute", reorder, lib.stream, len(arguments), arguments)
    lib.call("dnnl_stream_wait", lib.stream)
    return packed
