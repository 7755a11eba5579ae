"""Which utterances there are: LibriSpeech's folders, MLPerf's manifest, a table of transcripts.

| given | order |
|---|---|
| a JSON manifest (MLPerf's dev-clean-wav.json) | the manifest's, without what is longer than 15 s |
| a folder with `*.trans.txt` | by name, as LibriSpeech has them |
| a folder with `transcripts.tsv` (`file`, `text`) | the table's |
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.errors import InputError, quoted

LONGEST_S = 15.0
"""MLPerf drops what is longer (configs/rnnt.toml: max_duration)."""


@dataclass(frozen=True)
class Utterance:
    """A sound file and what is said in it."""

    file: Path
    text: str


def find(path: Path, root: Path | None = None) -> list[Utterance]:
    """Return the utterances of a manifest or folder; `root` is where a manifest's files are.

    Raises InputError that names what is missing.
    """
    if path.is_file():
        found = list(_manifest(path, root or path.parent))
    elif (path / "transcripts.tsv").is_file():
        found = list(_table(path / "transcripts.tsv"))
    elif path.is_dir():
        found = list(_folders(path))
    else:
        raise InputError(f"{path}: no such file or folder")
    if not found:
        raise InputError(
            f"{path}: holds no utterances (expected *.trans.txt with sound files beside them, "
            "transcripts.tsv, or a JSON manifest)"
        )
    missing = [one.file for one in found if not one.file.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: no such file ({len(missing)} of {len(found)} are missing)")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 (byte {error.start})") from None


def _manifest(path: Path, root: Path) -> Iterator[Utterance]:
    try:
        entries: Any = json.loads(_text(path))
        for entry in entries:
            if entry["original_duration"] <= LONGEST_S:
                yield Utterance(root / entry["files"][0]["fname"], entry["transcript"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{path}: not a manifest of utterances ({type(error).__name__}: {quoted(str(error))})"
        ) from None


def _table(path: Path) -> Iterator[Utterance]:
    rows = csv.DictReader(_text(path).splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    if not {"file", "text"} <= set(rows.fieldnames or ()):
        raise InputError(f"{path}: expected columns `file` and `text`, separated by tabs")
    for number, row in enumerate(rows, 2):
        if not row["file"] or row["text"] is None:
            raise InputError(f"{path}: line {number} has no file or no text")
        yield Utterance(path.parent / row["file"], row["text"])


def _folders(folder: Path) -> Iterator[Utterance]:
    for listing in sorted(folder.rglob("*.trans.txt")):
        for number, line in enumerate(_text(listing).splitlines(), 1):
            name, _, text = line.partition(" ")
            if not text:
                raise InputError(f"{listing}: line {number} is {quoted(line)}, expected NAME TEXT")
            flac, wav = listing.parent / f"{name}.flac", listing.parent / f"{name}.wav"
            yield Utterance(wav if wav.is_file() and not flac.is_file() else flac, text)
