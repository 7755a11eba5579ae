"""ONNX Runtime: fp32, and int8 by its static quantiser."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

from models.method import Method
from netrun.engines.engine import EngineFacts

if TYPE_CHECKING:
    from models.task import Part
    from netrun.engines.engine import EngineSpec
    from netrun.engines.onnxruntime.engine import OnnxRuntimeEngine
    from netrun.engines.order import Order

ENGINE = EngineFacts(
    "ONNX Runtime",
    ("int8", "fp32"),
    "onnxruntime",
    packages=("onnxruntime", "onnx"),
    int8=Method(
        "ONNX Runtime's static quantiser (quantize_static) on the ONNX graph of the fp32 network,\n"
        "with ranges taken from the {items}.",
        "int8 by ONNX Runtime's static quantiser",
    ),
)
STORED = 1  # raised when the same network would be stored in another way


def check() -> None:
    """It runs wherever it is installed."""


def build(order: Order) -> Path:
    """The parts as ONNX graphs, quantised for int8."""
    from base.processors import has_vnni
    from netrun.engines.onnxruntime.graph import KIND, save

    key = {
        **order.origin,
        "precision": order.precision,
        "stored": STORED,
        **{name: importlib.metadata.version(name) for name in ("onnxruntime", "onnx")},
    }
    if order.precision == "int8":
        # Without VNNI, sums of products of 8 bits saturate: weights keep to 7 bits there.
        key |= {**order.calibrated, "seven_bits": not has_vnni()}

    def write(part: Part, path: Path) -> None:
        inputs = order.inputs(part) if order.precision == "int8" else []
        save(order.graph(part), part, inputs, path, key, order.progress)

    return order.ensure(f"onnxruntime-{order.precision}", key, KIND, write)


def load(spec: EngineSpec) -> OnnxRuntimeEngine:
    """The engine, a session for each part."""
    from netrun.engines.onnxruntime.engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(spec)
