"""Word pieces: BERT's uncased tokeniser over a vocabulary file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import InputError, quoted
from models.packages import installing_extra

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NAME = "vocab.txt"
_WRONG = "give --vocab the vocab.txt that the weights were trained with"


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary and its tokeniser."""

    path: Path
    sha256: str
    size: int
    _tokenizer: Tokenizer
    _known: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def cls(self) -> int:
        """The id of what every sequence begins with."""
        return self._id("[CLS]")

    @property
    def sep(self) -> int:
        """The id of what ends the question, and the paragraph."""
        return self._id("[SEP]")

    def _id(self, piece: str) -> int:
        found = self._tokenizer.token_to_id(piece)
        assert found is not None  # `read_vocabulary` has seen to it
        return found

    def ids(self, text: str) -> tuple[int, ...]:
        """Ids of a text's word pieces."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def ids_of_words(self, words: Iterable[str]) -> list[tuple[int, ...]]:
        """Ids of each word's pieces; words come again, so they are kept."""
        words = list(words)
        new = list({word for word in words if word not in self._known})
        for word, encoding in zip(
            new, self._tokenizer.encode_batch(new, add_special_tokens=False), strict=True
        ):
            self._known[word] = tuple(encoding.ids)
        return [self._known[word] for word in words]

    def text(self, ids: Iterable[int]) -> str:
        """The pieces put together again to words, in lower case and without accents."""
        joined = " ".join(self._tokenizer.id_to_token(int(i)) or "[UNK]" for i in ids)
        return " ".join(joined.replace(" ##", "").replace("##", "").split())

    def basic(self, text: str) -> str:
        """A text as it is before words are cut into pieces: lower case, punctuation apart."""
        tokenizer = self._tokenizer
        normal = tokenizer.normalizer.normalize_str(text)
        return " ".join(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a file with a word piece a line. Raises InputError."""
    try:
        data = path.read_bytes()
        lines = data.decode("utf-8-sig").removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise InputError(f"{path}: no such vocabulary; {_WRONG}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; {_WRONG}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    pieces = {line.removesuffix("\r"): number for number, line in enumerate(lines)}
    missing = [special for special in SPECIAL[:4] if special not in pieces]
    if missing:
        raise InputError(f"{path}: no piece {missing[0]}: not a BERT vocabulary; {_WRONG}")
    cased = next((piece for piece in pieces if piece not in SPECIAL and piece != piece.lower()), "")
    if cased and not piece_is_other(cased):
        raise InputError(
            f"{path}: has upper case ({quoted(cased)}): a cased vocabulary, and BERT of MLPerf is "
            f"uncased; {_WRONG}"
        )
    return Vocabulary(path, hashlib.sha256(data).hexdigest(), len(lines), _tokenizer(pieces))


def piece_is_other(piece: str) -> bool:
    """Whether a piece is a special one, such as `[unused12]` or a task's own."""
    return piece.startswith("[") and piece.endswith("]")


def _tokenizer(pieces: dict[str, int]) -> Tokenizer:
    try:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    except ImportError:
        raise InputError(f"reading SQuAD needs tokenizers: {installing_extra('bert')}") from None
    model = models.WordPiece(vocab=pieces, unk_token="[UNK]", max_input_chars_per_word=100)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([special for special in SPECIAL if special in pieces])
    return tokenizer
