"""What BERT's data set needs beyond its file."""

from __future__ import annotations

from base.options import Option

OPTIONS = (
    Option("--vocab FILE", "BERT: vocabulary; default: vocab.txt beside the weights", path="file"),
)
