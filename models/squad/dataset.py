"""The data sets: windows of SQuAD's questions, and calibration by MLPerf's lists."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError, quoted
from base.text import read_given
from models.squad.answers import answer
from models.squad.articles import read_articles
from models.squad.score import Quality, judge
from models.squad.vocabulary import NAME, Vocabulary, read_vocabulary
from models.squad.windows import LONGEST, VERSION, make_windows
from models.task import Array, Field, Sources

FIELDS = (Field("input_ids", "<i4", (None,)), Field("second", "<i4", ()))
"""A sample: its word pieces without padding, and where its second segment begins."""
WHOLE = 10_833
"""Windows of all of SQuAD v1.1's dev set."""
CALIBRATED = 100
"""Windows that int8 ranges are taken from where no list says which."""
ATTENTION = 2_000.0
"""Tokens at which attention takes as long as all the rest: it grows with the square."""
_FEATURE = re.compile(r"[0-9]{1,6}")


def cost_of(tokens: int) -> float:
    """Work of a sequence, in tokens of a very short one."""
    return tokens * (1.0 + tokens / ATTENTION)


class QuestionData:
    """Windows of a SQuAD v1.1 file, in MLPerf's order."""

    fields: tuple[Field, ...] = FIELDS
    synthetic = False
    preparation = f"squad-{VERSION}"

    def __init__(self, path: Path, vocabulary: Vocabulary) -> None:
        """Read the file and cut it into windows. Raises InputError."""
        articles = read_articles(path)
        self.path = path
        self.name = path.name
        self.vocabulary = vocabulary
        self.questions = articles.questions
        self.sha256 = hashlib.sha256(
            f"{VERSION} {articles.sha256} {vocabulary.sha256}".encode()
        ).hexdigest()
        try:
            self.windows = make_windows(self.questions, vocabulary)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    notes: tuple[str, ...] = ()
    scored = True

    @property
    def truth(self) -> str:
        """The file's own answers."""
        return f"of {self.path.name}"

    def __len__(self) -> int:
        return len(self.windows)

    def read(self, index: int) -> Mapping[str, Array]:
        """Return the fields of one window."""
        window = self.windows[index]
        return {"input_ids": window.ids, "second": np.array(window.second, np.int32)}

    def cost(self, sample: Mapping[str, Array]) -> float:
        """Work of a sample in tokens, attention included."""
        return cost_of(len(sample["input_ids"]))

    @cached_property
    def of_question(self) -> dict[str, list[int]]:
        """Windows of each question, by its id."""
        found: dict[str, list[int]] = {question.id: [] for question in self.questions}
        for index, window in enumerate(self.windows):
            found[self.questions[window.question].id].append(index)
        return found

    def answers(self, given: Mapping[int, bytes]) -> dict[str, str]:
        """Texts by question id, from responses by window; questions without any are left out."""
        texts: dict[str, str] = {}
        for question in self.questions:
            windows = [
                (self.windows[index], logits_of(given[index]))
                for index in self.of_question[question.id]
                if index in given
            ]
            if windows:
                texts[question.id] = answer(question, windows, self.vocabulary)
        return texts

    def judge(self, given: Mapping[int, bytes]) -> Quality:
        """Judge responses by window; questions none of whose windows were asked do not count."""
        texts = self.answers(given)
        return judge(texts, [question for question in self.questions if question.id in texts])


def logits_of(response: bytes) -> NDArray[np.float32]:
    """The logits (tokens, 2) of a response. Raises InputError where it is none."""
    if len(response) % 8 or len(response) > 8 * LONGEST:
        raise InputError(
            f"a response of {len(response)} bytes is not start and end logits of at most {LONGEST} "
            "tokens in float32"
        )
    return np.frombuffer(response, "<f4").reshape(-1, 2)


def vocabulary_of(sources: Sources) -> Vocabulary:
    """The vocabulary that --vocab names, else the one beside the weights or the data."""
    named = (sources.options or {}).get("vocab")
    if named:
        return read_vocabulary(Path(named))
    places = [path.parent / NAME for path in (sources.weights, sources.data) if path is not None]
    for place in places:
        if place.is_file():
            return read_vocabulary(place)
    raise InputError(
        f"no vocabulary: put {NAME} beside the weights ({places[0].parent}), or give --vocab FILE"
    )


def calibration_windows(data: QuestionData, listing: Path | None) -> Sequence[int]:
    """The samples to take int8 ranges from: a list's, or some that are spread over all.

    A list has window numbers of SQuAD's whole dev set, or ids of questions (MLPerf has one of
    each), one a line. Raises InputError.
    """
    if listing is None:
        count = min(len(data), CALIBRATED)
        return [index * len(data) // count for index in range(count)]
    try:
        lines = [line.strip() for line in read_given(listing).splitlines()]
    except FileNotFoundError:
        raise InputError(f"{listing}: no such calibration list") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{listing}: {error}") from None
    wanted = [line for line in lines if line and not line.startswith("#")]
    if not wanted:
        raise InputError(f"{listing}: an empty calibration list")
    if all(_FEATURE.fullmatch(line) for line in wanted):
        return _numbered(data, listing, [int(line) for line in wanted])
    chosen: list[int] = []
    for name in wanted:
        if name not in data.of_question:
            raise InputError(
                f"{listing}: {data.name} has no question {quoted(name)} (expected ids of its "
                "questions, or window numbers of all of SQuAD's dev set)"
            )
        chosen += data.of_question[name]
    return list(dict.fromkeys(chosen))


def _numbered(data: QuestionData, listing: Path, numbers: list[int]) -> list[int]:
    if len(data) != WHOLE:
        raise InputError(
            f"{listing}: has window numbers of all of SQuAD's dev set, {WHOLE:,} windows, and "
            f"{data.name} has {len(data):,}; use MLPerf's list of question ids"
        )
    if max(numbers) >= WHOLE:
        raise InputError(f"{listing}: window {max(numbers)} of {WHOLE:,} (the first one is 0)")
    return list(dict.fromkeys(numbers))
