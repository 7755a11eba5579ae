"""OpenVINO: fp32, bf16, and int8 by NNCF's post-training quantisation."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

from models.method import Method
from netrun.engines.engine import EngineFacts

if TYPE_CHECKING:
    from models.task import Part
    from netrun.engines.engine import EngineSpec
    from netrun.engines.openvino.engine import OpenVinoEngine
    from netrun.engines.order import Order

ENGINE = EngineFacts(
    "OpenVINO",
    ("int8", "bf16", "fp32"),
    "openvino",
    packages=("openvino", "nncf"),
    int8=Method(
        "NNCF's post-training quantisation (nncf.quantize) of the OpenVINO representation of the\n"
        "fp32 network, with ranges taken from the {items}.",
        "int8 by NNCF's post-training quantisation",
    ),
)
STORED = 1  # raised when the same network would be stored in another way


def check() -> None:
    """It runs wherever it is installed."""


def build(order: Order) -> Path:
    """The parts in OpenVINO's representation, quantised for int8.

    fp32 and bf16 are made of one: which of the two is used is chosen when it is loaded.
    """
    from netrun.engines.openvino.graph import KIND, save

    int8 = order.precision == "int8"
    key = {
        **order.origin,
        "stored": STORED,
        **{name: importlib.metadata.version(name) for name in ("openvino", "nncf")},
    }
    if int8:
        key |= order.calibrated

    def write(part: Part, path: Path) -> None:
        inputs = order.inputs(part) if int8 else []
        save(order.graph(part), part, inputs, path, key, order.progress)

    return order.ensure("openvino-int8" if int8 else "openvino-float", key, KIND, write)


def load(spec: EngineSpec) -> OpenVinoEngine:
    """The engine, each part compiled."""
    from netrun.engines.openvino.engine import OpenVinoEngine

    return OpenVinoEngine(spec)
