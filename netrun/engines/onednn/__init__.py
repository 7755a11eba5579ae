"""int8 inference by a static sequence of oneDNN primitives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from netrun.engines import EngineError
from netrun.engines.engine import EngineFacts
from netrun.engines.forms import form_of

if TYPE_CHECKING:
    from models.task import Part
    from netrun.engines.engine import Engine, EngineSpec
    from netrun.engines.order import Order

ENGINE = EngineFacts("oneDNN", ("int8",))


def check() -> None:
    """Raise EngineError where the library cannot be found."""
    from netrun.engines.onednn.library import OneDNNError, find_library

    try:
        find_library()
    except OneDNNError as error:
        raise EngineError(str(error)) from None


def build(order: Order) -> Path:
    """The programs, then compiled for this machine, batch size and number of threads."""
    if form := form_of(order.task):
        return form.build(order)
    from base.affinity import threads_kept_on
    from models import artifact
    from netrun.engines.engine import part_file
    from netrun.engines.onednn import compiler, library, pack, references

    programs = order.programs()
    try:
        machine = pack.machine_facts(library.load(), order.batch_size, order.threads)
    except library.OneDNNError as error:
        raise EngineError(str(error)) from None
    key = {**order.program_key, **machine}

    def write(part: Part, path: Path) -> None:
        with threads_kept_on(order.processors):
            compiler.compile_program(
                order.program_of(programs, part),
                path,
                order.batch_size,
                order.threads,
                order.program_key,
                order.measuring,
            )

    label = f"onednn-b{order.batch_size}-t{order.threads}"
    compiled = order.ensure(label, key, pack.KIND, write)
    for part in order.task.parts:
        facts = artifact.read_facts(part_file(compiled, part), pack.KIND)
        slow = references.notice(facts["references"])
        if slow is not None:
            order.notice(slow)
    return compiled


def load(spec: EngineSpec) -> Engine:
    """The engine, every primitive of every batch size made."""
    if form := form_of(spec.task):
        return form.load(spec)
    from netrun.engines.onednn.engine import OneDNNEngine

    return OneDNNEngine(spec)
