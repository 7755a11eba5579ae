"""How large a BERT is: from the configuration beside its weights, or from their shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import WeightsError

HEAD = 64
"""Channels of a head where no configuration says how many heads there are."""
_OTHER_HEADS = {384: 12, 312: 12}  # MiniLM and TinyBERT
_KEYS = {
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "pieces": "vocab_size",
    "positions": "max_position_embeddings",
    "types": "type_vocab_size",
}
EPS = 1e-12


@dataclass(frozen=True)
class Sizes:
    """A BERT's dimensions."""

    hidden: int = 1024
    layers: int = 24
    heads: int = 16
    inner: int = 4096
    """Channels between the two linear layers of a block."""
    pieces: int = 30_522
    """Rows of the word embedding."""
    positions: int = 512
    types: int = 2
    eps: float = EPS
    """Added to variances in layer normalisation."""

    @property
    def head(self) -> int:
        """Channels of a head."""
        return self.hidden // self.heads

    def macs(self, tokens: int) -> int:
        """Multiply-accumulate operations of one sequence."""
        linear = self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.inner)
        return tokens * (linear + 2 * self.hidden + 2 * tokens * self.hidden * self.layers)


LARGE = Sizes()


def read_config(weights: Path) -> Sizes | None:
    """The sizes of the configuration beside a weights file, or None. Raises WeightsError.

    It is called `config.json`, `bert_config.json` or like the weights: `name.config.json`.
    """
    names = (f"{weights.stem}.config.json", "config.json", "bert_config.json")
    path = next((p for name in names if (p := weights.parent / name).is_file()), None)
    if path is None:
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        values = {name: int(held[key]) for name, key in _KEYS.items()}
        eps = float(held.get("layer_norm_eps", EPS))
        activation = held.get("hidden_act", "gelu")
        positions = held.get("position_embedding_type", "absolute")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{path}: not a BERT's configuration ({error!r})") from None
    if activation != "gelu" or positions != "absolute":
        what = f"hidden_act {activation!r}, position_embedding_type {positions!r}"
        raise WeightsError(f"{path}: {what}: BERT has 'gelu' and 'absolute'")
    sizes = Sizes(**values, eps=eps)
    if min(values.values()) < 1 or sizes.hidden % sizes.heads:
        raise WeightsError(f"{path}: {sizes.hidden} channels do not divide by {sizes.heads} heads")
    return sizes


def sizes_of(shapes: Mapping[str, Sequence[int]]) -> Sizes:
    """The sizes by the shapes of tensors. Raises KeyError where one that is needed is absent."""
    embeddings = "bert.embeddings.{}_embeddings.weight"
    pieces, hidden = shapes[embeddings.format("word")]
    layer = "bert.encoder.layer."
    numbers = [int(name[len(layer) :].split(".")[0]) for name in shapes if name.startswith(layer)]
    layers = 1 + max(numbers, default=-1)
    heads = _OTHER_HEADS.get(hidden, max(hidden // HEAD, 1))
    return Sizes(
        hidden=hidden,
        layers=layers,
        heads=heads,
        inner=shapes[f"{layer}0.intermediate.dense.weight"][0],
        pieces=pieces,
        positions=shapes[embeddings.format("position")][0],
        types=shapes[embeddings.format("token_type")][0],
    )


def describe(sizes: Sizes) -> dict[str, Any]:
    """As JSON values, for records and keys of caches."""
    return {**{name: getattr(sizes, name) for name in _KEYS}, "eps": sizes.eps}
