"""The layouts that kernels want their weights in: each that is wanted is packed once.

oneDNN chooses a layout together with a kernel, and may choose another one for another number of
samples: with AMX, 3x3 convolutions block their weights differently for small batches. A layout
forced from another size would leave such a kernel nothing but the reference implementation, which
takes a thousand times longer. So kernels are always chosen freely, and a layer has as many packed
copies of its weights as there are different layouts among the kernels of all operations that use
them.
"""

from __future__ import annotations

from ctypes import c_void_p

import numpy as np
from numpy.typing import NDArray

from models.program import Convolution, Linear, Program
from netrun.engines.onednn import library as dnn
from netrun.engines.onednn.primitives import plain_weights

Weighted = Convolution | Linear


class Layouts:
    """The different weight layouts of each layer, numbered in the order of their first use."""

    def __init__(self, lib: dnn.Library) -> None:
        self._lib = lib
        self._known: dict[str, list[c_void_p]] = {}

    def count(self, operation: Weighted) -> int:
        """How many layouts of an operation's layer are known."""
        return len(self._known.get(operation.layer, ()))

    def find(self, operation: Weighted, wanted: c_void_p) -> int | None:
        """The number of the layout `wanted`, a memory descriptor; None for one not seen yet."""
        for number, known in enumerate(self._known.get(operation.layer, ())):
            if self._lib.equal(known, wanted):
                return number
        return None

    def add(self, operation: Weighted, wanted: c_void_p) -> int:
        """Number the layout `wanted`, which is a new one."""
        self._known.setdefault(operation.layer, []).append(wanted)
        return self.count(operation) - 1


def packed_name(operation: Weighted, layout: int) -> str:
    """The name of a layer's weights in a layout among the arrays of an artifact."""
    return f"{operation.layer}.packed.{layout}"


def pack(
    lib: dnn.Library, program: Program, operation: Weighted, layout: c_void_p
) -> NDArray[np.uint8]:
    """The weights of `operation` as the bytes of a memory of descriptor `layout`."""
    plain = np.ascontiguousarray(program.constants[f"{operation.layer}.weight"])
    packed = np.zeros(lib.size(layout), np.uint8)
    source = plain_weights(lib, program, operation)
    attributes = lib.create("dnnl_primitive_attr_create")
    reorder = lib.create(
        "dnnl_primitive_create",
        lib.create(
            "dnnl_reorder_primitive_desc_create",
            *(source, lib.engine, layout, lib.engine, attributes),
        ),
    )
    arguments = dnn.exec_args(
        (dnn.ARG_SRC, lib.memory(source, plain.ctypes.data)),
        (dnn.ARG_DST, lib.memory(layout, packed.ctypes.data)),
    )
    lib.call("dnnl_primitive_execute", reorder, lib.stream, len(arguments), arguments)
    lib.call("dnnl_stream_wait", lib.stream)
    return packed
