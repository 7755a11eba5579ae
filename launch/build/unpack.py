"""Unpacks a downloaded archive once: aside, then in its place; a note says that it is done."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from base.errors import InputError
from base.files import put_in_place, write_text
from models.published import PublishedFile

NOTE = ".{name}.unpacked"
CHUNK = 1 << 20


def is_unpacked(file: PublishedFile, folder: Path) -> bool:
    """Whether the archive, with this checksum, was unpacked into the folder, whole."""
    try:
        note = _note(file, folder).read_text(encoding="utf-8")
    except OSError:
        return False
    return note == _noted(file)


def unpack(file: PublishedFile, folder: Path) -> None:
    """Unpack the archive that lies in the folder, and remove it.

    Raises InputError for one that is damaged, or would write outside of the folder.
    """
    archive = folder / file.name
    target = folder / (file.unpacks_to or "")
    aside = folder / f".{archive.name}.aside"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        for name, content in _members(archive):
            place = aside / _checked(archive, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as out:
                shutil.copyfileobj(content, out, CHUNK)
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(aside.iterdir()):
            _merge(path, target / path.name)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise InputError(f"{archive}: cannot be unpacked ({error})") from None
    except OSError as error:
        raise InputError(f"{archive}: {error.strerror or error} (choose a folder: --to)") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    write_text(_note(file, folder), _noted(file))
    archive.unlink()


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The regular files of an archive."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    with zipped.open(info) as content:
                        yield info.filename, content
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile():
                data = tar.extractfile(member)
                assert data is not None
                yield member.name, data


def _checked(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"{archive}: holds {name!r}, outside of its folder: nothing was unpacked")
    return path


def _merge(source: Path, target: Path) -> None:
    """Move a file or folder to its place, where others may be."""
    if not source.is_dir():
        put_in_place(source, target)
        return
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        _merge(path, target / path.name)


def _note(file: PublishedFile, folder: Path) -> Path:
    return folder / NOTE.format(name=Path(file.name).name)


def _noted(file: PublishedFile) -> str:
    return f"{file.url}\n{file.checksum or ''}\n"
