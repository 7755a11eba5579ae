"""A way of post-training quantisation, as a submission describes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """What a person wants to know of it.

    `text` is a paragraph, in which `{items}` stands for what samples are called; `weights` says in
    one line what becomes of the weights.
    """

    text: str
    weights: str
