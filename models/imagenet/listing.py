"""Finding the images that a file names: a label file's, or a list's."""

from __future__ import annotations

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from base.errors import InputError, quoted


class Listing:
    """The images below a folder, by the names that a file may give them."""

    def __init__(self, root: Path, inner: Path, present: Sequence[str], source: Path) -> None:
        """Take the images `present`, paths below `root`, most of them in the folder `inner`.

        `source` is the file that names some of them.
        """
        self._source = source
        self._inner = inner.relative_to(root).as_posix()
        self._roots = [str(root.absolute()), os.path.realpath(root)]
        self._paths = set(present)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path in present:
            self._by_name[path.rpartition("/")[2]].append(path)

    def find(self, name: str) -> str | None:
        """Return the image that `name` means, None where there is none.

        The name may have its sub-folder in front of it or not, as long as it is the only one of
        its name; and the folder of images itself, as ``val/x.JPEG`` beside ``--images val`` or as
        a path. Raises InputError where several sub-folders hold one of that name.
        """
        for reading in dict.fromkeys(self._readings(name)):
            if reading in self._paths:
                return reading
            found = self._by_name.get(reading, [])
            if len(found) > 1:
                raise InputError(
                    f"{self._source}: {quoted(name)} is in {len(found)} sub-folders "
                    f"({found[0]}, {found[1]}): name each with its sub-folder"
                )
            if found:
                return found[0]
        return None

    def find_in_line(self, line: str) -> tuple[str, str | None]:
        """Return the name that a line begins with, and the image it means.

        Names may hold blanks, and other things may follow one: the longest beginning that means an
        image is its name. Where none does, that is the part up to a file's ending. Raises as
        `find`.
        """
        beginnings = [line[: gap.start()] for gap in re.finditer(r"\s+|$", line)]
        for name in reversed(beginnings):
            if name.strip() and (path := self.find(name)) is not None:
                return name, path
        named = [name for name in beginnings if re.search(r"\.\w+$", name)]
        return (named or line.split())[0], None

    def _readings(self, name: str) -> Iterator[str]:
        for given in (name, name.strip()):
            path = posixpath.normpath(given)
            if path.startswith(("/", "../")):
                yield from self._below_root(path)
                continue
            yield path
            yield posixpath.normpath(f"{self._inner}/{path}")
            parts = path.split("/")
            for root in self._roots:
                above = root.split("/")
                for count in range(1, len(parts)):
                    if parts[:count] == above[-count:]:
                        yield "/".join(parts[count:])

    def _below_root(self, path: str) -> Iterator[str]:
        """Yield a path that does not lie below the root by itself as one that does."""
        whole = posixpath.normpath(self._source.absolute().parent / path)
        for root in self._roots:
            if whole.startswith(f"{root}/"):
                yield whole[len(root) + 1 :]
