"""What the parts of a task are given for some samples: what their int8 is calibrated on.

The task itself says it: it answers the samples, with parts in fp32 that note their inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from models.batch import Samples
from models.task import Array, Part, Run, Task
from netrun.engines.rows import Given, stacked

if TYPE_CHECKING:
    import torch

Sample = Mapping[str, Array]
MOST = 300
"""Inputs of a part that are kept, at random from all."""
MOST_BYTES = 1 << 30


def given_as_they_are(task: Task, samples: Sequence[Sample]) -> bool:
    """Whether the samples are what the task's only part is given."""
    if len(task.parts) > 1 or not samples:
        return False
    first = samples[0]
    return all(
        field.name in first
        and first[field.name].dtype == field.dtype
        and len(first[field.name].shape) == len(field.shape)
        for field in task.parts[0].inputs
    )


def record(
    task: Task,
    samples: Sequence[Sample],
    module: Callable[[Part], torch.nn.Module],
    progress: Callable[[int, int], None],
) -> dict[str, list[Sample]]:
    """By part, some of its inputs, of one row each, while `task` answers each sample alone."""
    recorders = {part.name: _Recorder(part, module(part)) for part in task.parts}
    run: dict[str, Run] = {name: recorder.run for name, recorder in recorders.items()}
    for count, sample in enumerate(samples, start=1):
        task.infer(run, Samples([sample]))
        progress(count, len(samples))
    return {name: recorder.kept for name, recorder in recorders.items()}


class _FirstCallError(Exception):
    """A part was run, of which only its inputs are wanted."""


def first_call(task: Task, samples: Sequence[Sample]) -> dict[str, Given]:
    """What `task` gives the first part that it runs when it answers samples as one batch."""
    found: dict[str, Given] = {}

    def note(**inputs: Given) -> Mapping[str, Array]:
        found.update(inputs)
        raise _FirstCallError

    with suppress(_FirstCallError):
        task.infer({part.name: note for part in task.parts}, Samples(samples))
    return found


class _Recorder:
    """Runs a part in fp32, and keeps some of what it is given."""

    def __init__(self, part: Part, module: torch.nn.Module) -> None:
        self._part, self._module = part, module
        self._random = np.random.default_rng(0)
        self._seen = 0
        self.kept: list[Sample] = []

    def run(self, **inputs: Given) -> Mapping[str, Array]:
        """The part's outputs."""
        import torch

        from netrun.engines.pytorch.engine import outputs_of

        arrays = stacked(self._part, inputs)
        for row in range(len(arrays[0])):
            self._keep([array[row] for array in arrays])
        with torch.inference_mode():
            found = self._module(*(torch.from_numpy(array.copy()) for array in arrays))
        return outputs_of(self._part, found)

    def _keep(self, row: list[Array]) -> None:
        """Every row is as likely to be kept as any other."""
        most = max(1, min(MOST, MOST_BYTES // max(1, sum(array.nbytes for array in row))))
        place = len(self.kept)
        if place >= most:
            place = int(self._random.integers(self._seen + 1))
        self._seen += 1
        if place < most:
            names = (field.name for field in self._part.inputs)
            copies = (array.copy() for array in row)
            self.kept[place : place + 1] = [dict(zip(names, copies, strict=True))]
