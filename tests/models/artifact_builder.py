"""A process that ensures an artifact, step by step: ``artifact_builder.py PATH``.

Says what it does, a line each: "waiting" or another notice, "building", "half" when half of the
file is written aside, "built" or "found". It goes on after "building" and "half" when told so by a
line on standard input.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from base.files import written_aside
from models import artifact


def say(text: str) -> None:
    print(text, flush=True)
    if text in ("building", "half"):
        sys.stdin.readline()


def main() -> None:
    path = Path(sys.argv[1])

    def build() -> None:
        say("building")
        with written_aside(path) as aside:
            aside.write_bytes(artifact.MAGIC)
            say("half")
        artifact.write(path, "test", {"builder": "process"}, {"a": np.arange(100)})

    built = artifact.ensure(path, "test", build, say)
    say("built" if built else "found")


if __name__ == "__main__":
    main()
