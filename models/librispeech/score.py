"""Word error rate, as MLPerf's accuracy_eval.py prints it."""

from __future__ import annotations

from collections.abc import Sequence

from base.errors import InputError
from models.packages import installing_extra


def word_error_rate(truths: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Return the edits of words that turn truths into hypotheses, over the words of the truths.

    Raises InputError where jiwer is not installed.
    """
    try:
        import jiwer
    except ImportError:
        raise InputError(f"scoring speech needs jiwer: {installing_extra('speech')}") from None
    found = jiwer.process_words(list(truths), list(hypotheses))
    edits = found.substitutions + found.deletions + found.insertions
    return edits / (found.hits + found.substitutions + found.deletions)


def line(rate: float) -> str:
    """Return the reference's line."""
    return f"Word Error Rate: {100 * rate}%, accuracy={100 * (1 - rate)}%"
