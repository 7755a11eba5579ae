"""The files that describe a machine: this one, or another that was recorded.

A recording is a JSON object ``{"recording": 1, "files": {path: text}}``. Files that differ in the
processor's number alone and say the same stand once: ``cpu{0-3,8}/topology/physical_package_id``.
It holds what `read_topology` reads, and of files about more than processors only those lines.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Protocol

from base.errors import InputError
from base.text import FOREIGN
from launch.machine.lists import format_list, parse_list

VERSION = 1
_CPU = re.compile(r"/cpu(\d+)/")
_MANY = re.compile(r"/cpu\{([^}]*)\}/")
_KEPT = {
    "proc/self/status": re.compile(r"^(?:Cpus|Mems)_allowed_list:.*$", re.M),
    "proc/cpuinfo": re.compile(r"^(?:model name|Model|CPU implementer|CPU part)\s*:.*$", re.M),
}
"""Of these files only the lines about processors are recorded, each once."""


class FileTree(Protocol):
    """Files below a root directory."""

    def read(self, path: str) -> str:
        """The text of a file, "" where there is none."""

    def numbers(self, directory: str, prefix: str) -> list[int]:
        """The numbers n of the entries `prefix`n of a directory, ascending."""


class Directory:
    """A tree in the file system; "/" is this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> str:
        """The text of a file, "" where it cannot be read."""
        try:
            return (self._root / path).read_text(encoding="utf-8", errors=FOREIGN)
        except OSError:
            return ""

    def numbers(self, directory: str, prefix: str) -> list[int]:
        """The numbers of the entries, ascending."""
        names = (entry.name for entry in (self._root / directory).glob(f"{prefix}[0-9]*"))
        return sorted(int(n) for n in (name[len(prefix) :] for name in names) if n.isdigit())


class Recorded:
    """A tree from a recording: texts by path."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files
        self._entries: dict[str, set[str]] = {}
        for path in files:
            parts = path.split("/")
            for depth in range(1, len(parts)):
                self._entries.setdefault("/".join(parts[:depth]), set()).add(parts[depth])

    def read(self, path: str) -> str:
        """The text of a file, "" where there is none."""
        return self.files.get(path, "")

    def numbers(self, directory: str, prefix: str) -> list[int]:
        """The numbers of the entries, ascending."""
        names = self._entries.get(directory, ())
        found = (name[len(prefix) :] for name in names if name.startswith(prefix))
        return sorted(int(number) for number in found if number.isdigit())

    def to_json(self) -> str:
        """The recording as `load` reads it."""
        together: dict[tuple[str, str], list[int]] = {}
        alone = {}
        for path, text in self.files.items():
            found = _CPU.search(path)
            if found is None:
                alone[path] = text
            else:
                pattern = path[: found.start(1)] + "{}" + path[found.end(1) :]
                together.setdefault((pattern, text), []).append(int(found.group(1)))
        for (pattern, text), numbers in together.items():
            alone[pattern.replace("{}", "{" + format_list(numbers) + "}", 1)] = text
        return json.dumps({"recording": VERSION, "files": alone}, indent=0) + "\n"

    @classmethod
    def load(cls, path: Path) -> Recorded:
        """Read a recording; raises InputError naming the file and the fault."""
        cure = "make one with loadrun topology --record FILE"
        try:
            found = json.loads(path.read_bytes())
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; {cure}") from None
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"{path}: not a recording ({error}); {cure}") from None
        files = found.get("files") if isinstance(found, dict) else None
        if not isinstance(files, dict) or not all(isinstance(v, str) for v in files.values()):
            raise InputError(f"{path}: not a recording; {cure}")
        if found.get("recording") != VERSION:
            raise InputError(
                f"{path}: recording version {found.get('recording')!r}, not {VERSION}; {cure}"
            )
        try:
            return cls({name: text for key, text in files.items() for name in _expand(key)})
        except ValueError as error:
            raise InputError(f"{path}: {error}; {cure}") from None


class Recorder:
    """Passes reads on to a tree and notes what was found."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree
        self._files: dict[str, str] = {}

    def read(self, path: str) -> str:
        """What the tree holds."""
        text = self._tree.read(path)
        if text:
            kept = _KEPT.get(path)
            lines = dict.fromkeys(kept.findall(text)) if kept else text.rstrip("\n").splitlines()
            self._files[path] = "\n".join(lines)
        return text

    def numbers(self, directory: str, prefix: str) -> list[int]:
        """What the tree holds."""
        return self._tree.numbers(directory, prefix)

    @property
    def recorded(self) -> Recorded:
        """What was read so far."""
        return Recorded(dict(self._files))


def _expand(key: str) -> list[str]:
    found = _MANY.search(key)
    if found is None:
        return [key]
    numbers = parse_list(found.group(1))
    return [f"{key[: found.start()]}/cpu{n}/{key[found.end() :]}" for n in numbers]
