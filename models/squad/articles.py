"""SQuAD v1.1 files: articles, their paragraphs, questions on them, and the annotators' answers."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.errors import InputError, quoted

_GZIP = b"\x1f\x8b"
_BETWEEN_WORDS = re.compile("[ \t\r\n\u202f]+")
"""What separates the words of a paragraph: this and no other white space, as in the reference."""
CURE = "expected SQuAD v1.1, such as dev-v1.1.json"


@dataclass(frozen=True, slots=True)
class Question:
    """A question on a paragraph; the questions of one paragraph share `words`."""

    id: str
    text: str
    words: tuple[str, ...]
    """The paragraph, split at white space: answers are made of whole words first."""
    answers: tuple[str, ...]
    """What annotators answered, at least one."""


@dataclass(frozen=True)
class Articles:
    """The questions of a file in its order, and the file's SHA-256."""

    questions: list[Question]
    sha256: str


def read_articles(path: Path) -> Articles:
    """Read a SQuAD v1.1 file, also gzipped. Raises InputError that names what is wrong with it."""
    content = _content(path)
    try:
        held = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}: save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); {CURE}") from None
    _refuse_other_versions(path, held)
    questions = list(_questions(path, held))
    if not questions:
        raise InputError(f"{path}: holds no question; {CURE}")
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise InputError(f"{path}: question id {quoted(question.id)} stands there twice")
        seen.add(question.id)
    return Articles(questions, hashlib.sha256(content).hexdigest())


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(_GZIP) else data
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {CURE}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError(f"{path}: the gzip file is damaged: fetch it again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _refuse_other_versions(path: Path, held: Any) -> None:
    version = held.get("version") if isinstance(held, dict) else None
    if isinstance(version, str) and version.lower().startswith("v2"):
        raise InputError(f"{path}: SQuAD {version[:8]}, whose questions may have no answer; {CURE}")


def _questions(path: Path, held: Any) -> Iterator[Question]:
    for number, article in enumerate(_list(path, held, "data", "the file")):
        title = article.get("title") if isinstance(article, dict) else None
        where = f"article {quoted(title)}" if isinstance(title, str) else f"article {number}"
        for at, paragraph in enumerate(_list(path, article, "paragraphs", where)):
            place = f"{where}, paragraph {at}"
            context = _text(path, paragraph, "context", place)
            words = tuple(word for word in _BETWEEN_WORDS.split(context) if word)
            if not words:
                raise InputError(f"{path}: {place}: the context is empty; {CURE}")
            for entry in _list(path, paragraph, "qas", place):
                yield _question(path, entry, words, place)


def _question(path: Path, entry: Any, words: tuple[str, ...], place: str) -> Question:
    name = _text(path, entry, "id", place)
    where = f"question {quoted(name)}"
    if "is_impossible" in entry:
        raise InputError(
            f"{path}: {where} has is_impossible: SQuAD v2, whose questions may have no answer; "
            f"{CURE}"
        )
    text = _text(path, entry, "question", where)
    if not text.strip():
        raise InputError(f"{path}: {where}: the question is empty")
    given = _list(path, entry, "answers", where)
    answers = tuple(_text(path, answer, "text", f"{where}, answers") for answer in given)
    if not answers:
        raise InputError(f"{path}: {where} has no answers, so nothing can be scored; {CURE}")
    return Question(name, text, words, answers)


def _list(path: Path, held: Any, key: str, where: str) -> list[Any]:
    value = held.get(key) if isinstance(held, dict) else None
    if not isinstance(value, list):
        raise InputError(f"{path}: {where}: no {key!r} that is a list; {CURE}")
    return value


def _text(path: Path, held: Any, key: str, where: str) -> str:
    value = held.get(key) if isinstance(held, dict) else None
    if not isinstance(value, str):
        raise InputError(f"{path}: {where}: no {key!r} that is a text; {CURE}")
    return value
