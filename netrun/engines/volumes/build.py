"""From a part that is a network over volumes, and windows of them, to its int8 program's file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import InputError
from models import volume_program
from models.quantize.deploy import UnsupportedNetworkError
from models.quantize.volumes import VERSION, quantise_volumes
from netrun.engines import EngineError

if TYPE_CHECKING:
    from models.task import Part
    from netrun.engines.order import Order


def build(order: Order) -> Path:
    """The int8 programs of a task's parts, found or built; the same for every machine."""
    key = {**order.origin, **order.calibrated, "volumes": VERSION}
    other = "choose --precision fp32 or bf16 (with --engine pytorch)"

    def write(part: Part, path: Path) -> None:
        module = order.module(part, "onednn")
        try:
            made = quantise_volumes(module, order.inputs(part), order.progress)
        except UnsupportedNetworkError as error:
            raise EngineError(f"{order.task.name} cannot run in int8: {error}; {other}") from None
        except ValueError as error:
            raise InputError(
                f"{order.task.name} cannot be calibrated: {error}; give other volumes"
                f" (--calibration DIR) or {other}"
            ) from None
        made.save(path, key)

    return order.ensure("int8-volumes", key, volume_program.KIND, write)
