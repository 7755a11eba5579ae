"""What a file with a task of one's own imports from loadrun, whatever packages are beside it."""

from base.errors import InputError
from models.task import (
    Answers,
    Array,
    Batch,
    Benchmark,
    DataSet,
    Field,
    Part,
    Run,
    Score,
    Sources,
    Task,
)

__all__ = [
    "Answers",
    "Array",
    "Batch",
    "Benchmark",
    "DataSet",
    "Field",
    "InputError",
    "Part",
    "Run",
    "Score",
    "Sources",
    "Task",
]
