"""RNN-T (Graves 2012) as MLPerf has it: encoder, prediction, joint.

    features [n, T, 240] -> pre-LSTM -> two frames to one -> post-LSTM -> half of the joint's
    first layer -> [n, T / 2, J]
    last label, state -> embedding -> LSTM -> the other half -> [n, J]
    relu(sum of both) -> [n, 29]

The joint's first layer sees encoder and prediction side by side: W [f; g] = W_f f + W_g g, so each
half is computed when its side changes. Names of parameters are the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from models.librispeech.features import WIDTH
from models.librispeech.labels import BLANK

STACKED = 2


@dataclass(frozen=True)
class Sizes:
    """Widths and numbers of layers."""

    encoder: int = 1024
    pre: int = 2
    post: int = 3
    embedding: int = 320
    prediction: int = 320
    prediction_layers: int = 2
    joint: int = 512


class _Layers(nn.Module):
    """An LSTM under the published name."""

    def __init__(self, narrow: int, wide: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(narrow, wide, layers)


class Encoder(nn.Module):
    """Features to the encoder's half of the joint's first layer."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.pre_rnn = _Layers(WIDTH, sizes.encoder, sizes.pre)
        self.post_rnn = _Layers(sizes.encoder * STACKED, sizes.encoder, sizes.post)
        self.joint_side = nn.Linear(sizes.encoder, sizes.joint)

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Return float [n, ceil(T / 2), J] of float [n, T, 240], `length` int64 [n] of them valid.

        What stands behind an end is of no meaning.
        """
        if not torch.is_autocast_enabled("cpu"):
            return self.packed(features, length)
        # In bf16 oneDNN's LSTM is the faster one, which wants utterances of one length.
        frames = -(-features.shape[1] // STACKED)
        encoded = features.new_zeros(len(features), frames, self.joint_side.out_features)
        for group in alike(length.tolist()):
            longest = int(length[group[0]])
            if longest:
                found = self.padded(features[group, :longest], length[group])
                encoded[group, : found.shape[1]] = found.to(encoded.dtype)
        return encoded

    def packed(self, features: Tensor, length: Tensor) -> Tensor:
        """The same without filling up: a step's products are of the utterances that have it."""
        length = length.clamp(min=1)
        found, _ = self.pre_rnn.lstm(_pack(features, length))
        n, count = features.shape[:2]
        pairs = -(-count // STACKED)
        # An odd last frame is stacked with zeros, which is what stands behind an end.
        found, _ = pad_packed_sequence(found, batch_first=True, total_length=STACKED * pairs)
        stacked = found.view(n, pairs, -1)
        found, _ = self.post_rnn.lstm(_pack(stacked, -(-length // STACKED)))
        found, _ = pad_packed_sequence(found, batch_first=True, total_length=pairs)
        half: Tensor = self.joint_side(found)
        return half

    def padded(self, features: Tensor, length: Tensor) -> Tensor:
        """The same for utterances that are filled up to the longest and run in one."""
        found, _ = self.pre_rnn.lstm(features.transpose(0, 1))
        steps = torch.arange(found.shape[0])[:, None]
        # An odd last frame is stacked with zeros.
        found = found * (steps < length)[:, :, None].to(found.dtype)
        if found.shape[0] % STACKED:
            found = torch.cat([found, found.new_zeros(1, *found.shape[1:])])
        count, n, width = found.shape
        pairs = found.view(count // STACKED, STACKED, n, width).transpose(1, 2)
        found, _ = self.post_rnn.lstm(pairs.reshape(count // STACKED, n, STACKED * width))
        half: Tensor = self.joint_side(found)
        return half.transpose(0, 1)


def _pack(rows: Tensor, length: Tensor) -> PackedSequence:
    return pack_padded_sequence(rows, length, batch_first=True, enforce_sorted=False)


WASTE = 0.8
"""Utterances this much shorter than the longest of a group begin another one."""
LEAST = 8
"""Utterances of a group at least, where there are so many: fewer leave the processor waiting."""


def alike(lengths: Sequence[int]) -> list[list[int]]:
    """Return places, the longest first, in groups of like length."""
    found: list[list[int]] = []
    for one in sorted(range(len(lengths)), key=lambda one: -lengths[one]):
        if found and (len(found[-1]) < LEAST or lengths[one] >= WASTE * lengths[found[-1][0]]):
            found[-1].append(one)
        else:
            found.append([one])
    return found


class Prediction(nn.Module):
    """The last label and the state to the prediction's half of the joint's first layer."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embed = nn.Embedding(BLANK + 1, sizes.embedding)
        """The last row stands for the start: zeros."""
        self.dec_rnn = _Layers(sizes.embedding, sizes.prediction, sizes.prediction_layers)
        self.joint_side = nn.Linear(sizes.prediction, sizes.joint, bias=False)

    def forward(self, label: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return [n, J] and the new state [n, layers, width] twice, of labels int64 [n].

        A state without layers is the start's.
        """
        state = (hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous())
        found, (hidden, cell) = self.dec_rnn.lstm(
            self.embed(label)[None], state if hidden.shape[1] else None
        )
        return self.joint_side(found[0]), hidden.transpose(0, 1), cell.transpose(0, 1)


class Joint(nn.Module):
    """Both halves to logits of labels and blank."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.out = nn.Linear(sizes.joint, BLANK + 1)

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Return the likeliest label int64 [n] of float [n, J] twice."""
        logits: Tensor = self.out(torch.relu(encoded + predicted))
        return logits.argmax(-1)


PARTS: Mapping[str, type[nn.Module]] = {
    "encoder": Encoder,
    "prediction": Prediction,
    "joint": Joint,
}
