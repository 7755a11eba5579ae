"""Names of networks that are the user's own: a file, and what of it is meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError

_NAME = re.compile(r"(?P<file>.+\.(?P<kind>py|onnx))(?::(?P<meant>[^:/]*))?", re.DOTALL)
LIKE = "resnet50"
"""What an ONNX file's images are preprocessed as, unless it is said."""


@dataclass(frozen=True)
class OwnName:
    """`my_net.py:TASK`, or `net.onnx:resnet50`."""

    file: Path
    meant: str
    """Of a Python file the task's name in it, of an ONNX file the model it is like; "" if none."""

    @property
    def onnx(self) -> bool:
        """Whether it is an ONNX file."""
        return self.file.suffix == ".onnx"

    @property
    def short(self) -> str:
        """As people call it."""
        return f"{self.file.name}:{self.meant}" if self.meant else self.file.name

    def __str__(self) -> str:
        return f"{self.file}:{self.meant}" if self.meant else str(self.file)


def parse(name: str) -> OwnName | None:
    """Read such a name; None for any other."""
    found = _NAME.fullmatch(name)
    return OwnName(Path(found["file"]), found["meant"] or "") if found else None


def canonical(name: OwnName, task: str | None = None, like: str | None = None) -> OwnName:
    """The same from anywhere, with what `--task` and `--like` say. Raises InputError."""
    path = name.file.expanduser()
    file = path.absolute()
    if not file.is_file():
        raise InputError(f"{name.file}: no such file")
    if not name.onnx:
        for option, value in (("--task", task), ("--like", like)):
            if value is not None:
                raise InputError(f"{option} {value}: is for FILE.onnx; {name.file} holds a task")
        return OwnName(file, name.meant)
    if task not in (None, "imagenet"):
        raise InputError(f"--task {task}: unknown (known: imagenet)")
    if like and name.meant and like != name.meant:
        raise InputError(f"--like {like} and {name.short} exclude each other: leave one out")
    meant = like or name.meant
    if not meant and task is None:
        raise InputError(
            f"{name.file}: what is it a network for? add --task imagenet, or give"
            f" {name.file.name}:{LIKE} where images are preprocessed as {LIKE}'s"
        )
    return OwnName(file, meant or LIKE)
