"""Engines: what compiles and runs the parts of a task.

Each engine is one file or folder of this package. It states what it is in `ENGINE`, says whether it
can be used here (`check`), builds artifacts (`build`) and loads them (`load`); `registry` finds it
by name. Importing it costs nothing: what needs a library imports it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

ENGINES: Mapping[str, str] = {
    "onednn": "netrun.engines.onednn",
    "pytorch": "netrun.engines.pytorch",
    "openvino": "netrun.engines.openvino",
    "onnxruntime": "netrun.engines.onnxruntime",
    "null": "netrun.engines.null",
    "sim": "netrun.engines.sim",
}
"""Name and module of each. The first one that executes a precision is its default."""
PRECISIONS = ("int8", "bf16", "fp32")


class EngineError(Exception):
    """An engine cannot be made or used; the message is one line, with the cure if there is one."""


class Answer(NamedTuple):
    """Answers to a batch: `payload` holds them one behind the other, `lengths` bytes each.

    `payload` is bytes-like, C-contiguous and valid until the engine's next call.
    """

    payload: Any
    lengths: Sequence[int] | int
