"""BERT with a question answering head, over a stream of tokens without padding.

Sequences lie one behind the other. Linear layers and normalisation see tokens alone; attention
works within each sequence, on neighbours of equal length together. Names are Hugging Face's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.squad.sizes import Sizes
from models.streams import Stream


class Embeddings(nn.Module):
    """Words, positions and segments, normalised."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(sizes.pieces, sizes.hidden)
        self.position_embeddings = nn.Embedding(sizes.positions, sizes.hidden)
        self.token_type_embeddings = nn.Embedding(sizes.types, sizes.hidden)
        self.LayerNorm = nn.LayerNorm(sizes.hidden, eps=sizes.eps)

    def forward(self, ids: Tensor, stream: Stream) -> Tensor:
        """Return [tokens, hidden]."""
        words = self.word_embeddings(ids)
        places = self.position_embeddings(stream.positions)
        types = self.token_type_embeddings(stream.types)
        return self.LayerNorm(words + places + types)


class SelfAttention(nn.Module):
    """Every token looks at all tokens of its sequence, with several heads."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.query = nn.Linear(sizes.hidden, sizes.hidden)
        self.key = nn.Linear(sizes.hidden, sizes.hidden)
        self.value = nn.Linear(sizes.hidden, sizes.hidden)

    def forward(self, hidden: Tensor, stream: Stream) -> Tensor:
        """Return [tokens, hidden]."""
        query, key, value = self.query(hidden), self.key(hidden), self.value(hidden)
        seen = torch.empty_like(query)
        for first, count, size in stream.runs:
            here = slice(first, first + count * size)
            q, k, v = (
                x[here].view(count, size, self.heads, -1).transpose(1, 2)
                for x in (query, key, value)
            )
            out = F.scaled_dot_product_attention(q, k, v)
            seen[here] = out.transpose(1, 2).reshape(count * size, -1)
        return seen


class Output(nn.Module):
    """A linear layer whose result is added to what came before and normalised."""

    def __init__(self, channels: int, sizes: Sizes) -> None:
        super().__init__()
        self.dense = nn.Linear(channels, sizes.hidden)
        self.LayerNorm = nn.LayerNorm(sizes.hidden, eps=sizes.eps)

    def forward(self, seen: Tensor, before: Tensor) -> Tensor:
        """Return [tokens, hidden]."""
        return self.LayerNorm(self.dense(seen) + before)


class Attention(nn.Module):
    """Attention and its output, under the names of a checkpoint."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.self = SelfAttention(sizes)
        self.output = Output(sizes.hidden, sizes)

    def forward(self, hidden: Tensor, stream: Stream) -> Tensor:
        """Return [tokens, hidden]."""
        return self.output(self.self(hidden, stream), hidden)


class Intermediate(nn.Module):
    """The wide linear layer."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.dense = nn.Linear(sizes.hidden, sizes.inner)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return [tokens, inner]."""
        return F.gelu(self.dense(hidden))


class Layer(nn.Module):
    """A transformer block."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.attention = Attention(sizes)
        self.intermediate = Intermediate(sizes)
        self.output = Output(sizes.inner, sizes)

    def forward(self, hidden: Tensor, stream: Stream) -> Tensor:
        """Return [tokens, hidden]."""
        attended = self.attention(hidden, stream)
        return self.output(self.intermediate(attended), attended)


class Encoder(nn.Module):
    """All blocks."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))

    def forward(self, hidden: Tensor, stream: Stream) -> Tensor:
        """Return [tokens, hidden]."""
        for layer in self.layer:
            hidden = layer(hidden, stream)
        return hidden


class Bert(nn.Module):
    """Embeddings and encoder."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embeddings = Embeddings(sizes)
        self.encoder = Encoder(sizes)

    def forward(self, ids: Tensor, stream: Stream) -> Tensor:
        """Return [tokens, hidden]."""
        return self.encoder(self.embeddings(ids, stream), stream)


class QuestionAnswering(nn.Module):
    """BERT and start and end logits of every token."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.bert = Bert(sizes)
        self.qa_outputs = nn.Linear(sizes.hidden, 2)

    def forward(self, input_ids: Tensor, positions: Tensor, types: Tensor) -> Tensor:
        """Return logits [tokens, 2].

        Of every token [tokens] its word piece, its place in its sequence and its segment; integers.
        """
        stream = Stream(positions, types)
        logits: Tensor = self.qa_outputs(self.bert(input_ids, stream))
        return logits
