"""BERT as other engines take it: a batch of sequences filled up to the longest, with a mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.squad.network import QuestionAnswering

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Padded(nn.Module):
    """The same network, inputs [sequences, tokens]; attention is one operator for exporters."""

    def __init__(self, network: QuestionAnswering) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return logits [sequences, tokens, 2]."""
        bert = self.network.bert
        e = bert.embeddings
        tokens = input_ids.shape[1]
        places = e.position_embeddings(torch.arange(tokens))
        x = e.word_embeddings(input_ids) + places + e.token_type_embeddings(token_type_ids)
        x = e.LayerNorm(x)
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -10000.0
        for layer in bert.encoder.layer:
            looks, joins = layer.attention.self, layer.attention.output
            q, k, v = (
                part(x).view(x.shape[0], tokens, looks.heads, -1).transpose(1, 2)
                for part in (looks.query, looks.key, looks.value)
            )
            seen = F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2)
            x = joins(seen.reshape(x.shape[0], tokens, -1), x)
            x = layer.output(layer.intermediate(x), x)
        logits: Tensor = self.network.qa_outputs(x)
        return logits


def padded(lengths: Sequence[int], seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """Inputs of seeded sequences of these lengths."""
    random = np.random.default_rng(seed)
    inside = np.arange(max(lengths)) < np.array(lengths)[:, None]
    ids = random.integers(1000, 30000, inside.shape) * inside
    types = (np.arange(max(lengths)) > 14) & inside
    values = (ids, inside, types)
    return {name: value.astype(np.int64) for name, value in zip(INPUTS, values, strict=True)}
