"""A user's task answers a sample before the run: what is wrong with it is said in one line.

In the run it would end an instance, and its log would have to be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from base.errors import InputError, LoadrunError
from models.batch import Samples
from models.own.file import why
from models.own.names import parse
from models.samples import Prepared
from models.task import Score
from netrun.answers import pack
from netrun.engines import EngineError, registry
from netrun.engines.engine import EngineSpec, answers

if TYPE_CHECKING:
    from launch.build.assets import BuildConfig, SampleFacts
    from models.task import Sources, Task
    from netrun.engines import Answer

MOST = 2


def rehearse(
    config: BuildConfig, task: Task, artifact: Path, served: SampleFacts, sources: Sources
) -> None:
    """Answer two samples, and score them. Raises InputError for what is wrong with the task."""
    wanted, name = config.artifact, parse(config.model)
    assert wanted is not None
    assert name is not None
    spec = EngineSpec(task, wanted.precision, artifact, wanted.batch_size, wanted.threads)
    step = "infer"
    try:
        answer = answers(task, registry.load(wanted.engine, spec))
        prepared = Prepared.open(Path(served.path))
        samples = prepared[:MOST]
        given = answer(Samples(samples))
        _check(given)
        packed = pack(given, len(samples), task.longest_answer(prepared.largest()))
        step = "data"
        data = task.data(sources)
        if data.scored:
            step = "score"
            score: Any = task.score(dict(enumerate(_cut(packed, len(samples)))), data)
            if not isinstance(score, Score):
                raise TypeError(f"it gave {type(score).__name__}, not a Score")
    except (LoadrunError, EngineError) as error:
        raise InputError(f"{name.short}: {step}: {error}") from None
    except Exception as error:
        # It is the user's code: it may raise anything.
        raise InputError(f"{name.short}: {step}: {why(error, name.file.parent)}") from None


def _check(given: Any) -> None:
    """Raise TypeError for what is neither an array nor a sequence of arrays and bytes."""
    if isinstance(given, np.ndarray):
        return
    if not isinstance(given, Sequence) or isinstance(given, (bytes, str)):
        raise TypeError(f"it gave {type(given).__name__}, not an array or a list of answers")
    for each in given:
        if not isinstance(each, (bytes, np.ndarray)):
            raise TypeError(f"an answer is {type(each).__name__}, not bytes or an array")


def _cut(packed: Answer, count: int) -> list[bytes]:
    """The answers one by one."""
    lengths, whole = packed.lengths, memoryview(packed.payload).cast("B")
    sizes = [lengths] * count if isinstance(lengths, int) else lengths
    ends = np.cumsum(sizes).tolist()
    return [bytes(whole[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
