"""A part of an int8 transducer as a file that all instances map: written once, run by either way.

arrays     those of models.quantize.transducer; weights and factors of products packed for tiles,
           which what runs without tiles puts in order again, so that weights stand on the disk once
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import artifact
from netrun.engines.transformer.product import Product

KIND = "int8-transducer"
PACKING = 1  # raised when the same arrays would be stored in another way
LANES = 16
KERNELS = "input", "state", "gates"
"""What is called of a layer, in that order; behind the last one follows JOINED."""
JOINED = "joined"
Arrays = Mapping[str, NDArray[Any]]


def write(path: Path, arrays: Arrays, key: Mapping[str, Any]) -> None:
    """Write arrays of models.quantize.transducer, with `key`, what shaped them."""
    artifact.write(path, KIND, dict(key), pack(arrays))


def read(path: Path) -> Arrays:
    """The mapped arrays. Raises artifact.ArtifactError."""
    return artifact.read(path, KIND).arrays


def pack(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Arrays as the kernels read them."""
    packed: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        product, _, what = name.rpartition(".")
        if what == "weight" and product:
            packed[name] = product_of(*array.shape[::-1]).pack(dealt(product, array))
            factors = [dealt(product, arrays[f"{product}.{kind}"]) for kind in ("scales", "bias")]
            packed[f"{product}.factors"] = product_of(*array.shape[::-1]).pack_factors(*factors)
            packed[f"{product}.shape"] = np.array(array.shape, np.int64)
        elif name == "table":
            packed[name] = np.ascontiguousarray(dealt("0.input", array.T).T).astype(np.float16)
        elif what not in ("scales", "bias") or not product:
            packed[name] = np.asarray(array)
    return packed


def unpack(arrays: Arrays, name: str) -> list[NDArray[Any]]:
    """Weights (out, in), scales and bias of a product, in the order in which kernels have them."""
    layer = product_of(*arrays[f"{name}.shape"].tolist()[::-1])
    return [
        layer.unpack(arrays[f"{name}.weight"]),
        *layer.unpack_factors(arrays[f"{name}.factors"]),
    ]


def products(arrays: Arrays) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of each product."""
    shapes = (name for name in arrays if name.endswith(".shape"))
    return {name.removesuffix(".shape"): tuple(arrays[name].tolist()) for name in shapes}


def dealt(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Rows of a layer's gates in the order in which `Gates` reads them: 16 units of each gate."""
    if name == JOINED:
        return array
    by_gate = array.reshape(4, -1, LANES, *array.shape[1:])
    return np.ascontiguousarray(by_gate.swapaxes(0, 1)).reshape(array.shape)


def product_of(
    inside: int,
    out: int,
    kind: str = "half",
    source_stride: int = 0,
    output_stride: int = 0,
) -> Product:
    """A product of these widths."""
    return Product(inside, out, kind, source_stride, output_stride)
