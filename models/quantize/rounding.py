"""Rounding weights so that a layer's output errs least, to sums that every kernel adds up exactly.

The nearest integer is best for one weight alone. An output adds up many, and what one weight loses
by rounding others can make up for, as far as their inputs go together. So the columns of a layer's
weight matrix are rounded one after the other, and each passes its error on to those still to come
(Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers,
2022, section 3; after Hassibi and Stork's Optimal Brain Surgeon, 1993). The error of the mean is
taken out by bias correction afterwards, so what counts is the covariance of the inputs.

Processors without VNNI multiply uint8 by int8 with ``vpmaddubsw``, which adds the products of two
neighbouring input channels in 16 bits and saturates: unlimited int8 weights cost ResNet-50 a tenth
of its right answers there. Two such weights therefore sum to at most 128 in magnitude, because
255 * 128 < 2^15. Neighbours that are both large and of one sign are rare, so the scales hardly
grow, and a program gives the same answers on every processor.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LARGEST = 127
PAIR = 128
DAMPING = 0.01  # of the mean variance, added to each: makes covariances of few samples invertible
SMALLEST_SCALE = 2.0**-16
BLOCK = 128  # columns after which all those to come are updated at once


def round_weights(exact: Tensor, covariance: Tensor | None) -> tuple[Tensor, Tensor]:
    """Quantise `exact`, float32 (out, in / groups, ...), symmetrically per output channel.

    `covariance`, float32 (n, n), is that of the n inputs of one output, in the order of a flattened
    weight; float32 (groups, n, n) are those of each group of a grouped layer. Without it, weights
    are rounded to the nearest integer, within the bound of pairs unless an output has but one input
    channel. Returns int8 weights and float32 (out,) scales.
    """
    matrix = exact.reshape(len(exact), -1).float()
    scales = matrix.abs().amax(1) / LARGEST
    if covariance is None and exact.shape[1] > 1:
        covariance = torch.zeros(matrix.shape[1], matrix.shape[1])  # an error is nobody's to mend
    if covariance is None:
        scales.clamp_(min=SMALLEST_SCALE)
        stored = torch.round(matrix / scales[:, None]).clamp(-LARGEST, LARGEST)
    else:
        # A pair is an even input channel and the next one, at the same kernel position.
        distance = matrix.shape[1] // exact.shape[1]
        sums = _pair_sums(exact.float())
        scales = torch.maximum(scales, sums / PAIR).clamp_(min=SMALLEST_SCALE)
        feeding = feed_back if covariance.dim() == 2 else _feed_back_in_groups
        stored = feeding(matrix / scales[:, None], covariance, distance)
    return stored.to(torch.int8).reshape(exact.shape), scales


def _pair_sums(weight: Tensor) -> Tensor:
    """The largest magnitude of a pair's sum, for each output channel."""
    pairs = weight.shape[1] // 2
    sums = weight[:, 0 : 2 * pairs : 2] + weight[:, 1 : 2 * pairs : 2]
    return sums.abs().reshape(len(weight), -1).amax(1) if pairs else torch.zeros(len(weight))


def feed_back(target: Tensor, covariance: Tensor, distance: int | None) -> Tensor:
    """Round the columns of `target` (out, n) in turn; those to come make up for the error.

    `covariance` (n, n) is that of the inputs that columns meet. Columns `distance` apart are pairs
    whose sum is bounded; None where no kernel adds them in 16 bits.
    """
    rest = target.t().contiguous()  # a column each row: what is read and written lies together
    stored = torch.zeros_like(rest)
    factor = _inverse_factor(covariance)
    for begin in range(0, len(rest), BLOCK):
        block = rest[begin : begin + BLOCK]
        end = begin + len(block)
        errors = torch.zeros_like(block)
        for i, k in enumerate(range(begin, end)):
            column = torch.round(block[i]).clamp_(-LARGEST, LARGEST)
            if distance is not None and k // distance % 2:
                other = stored[k - distance]
                column = torch.maximum(torch.minimum(column, PAIR - other), -PAIR - other)
            stored[k] = column
            errors[i] = error = (block[i] - column) / factor[k, k]
            block[i + 1 :].addr_(factor[k, k + 1 : end], error, alpha=-1)
        rest[end:].addmm_(factor[begin:end, end:].t(), errors, alpha=-1)
    return stored.t()


def _feed_back_in_groups(target: Tensor, covariances: Tensor, distance: int) -> Tensor:
    """The same for the rows of `target` (out, n) that belong to each of several covariances."""
    groups = len(covariances)
    rest = target.unflatten(0, (groups, -1)).transpose(1, 2).contiguous()  # groups, n, out
    stored = torch.zeros_like(rest)
    factors = torch.stack([_inverse_factor(covariance) for covariance in covariances])
    for k in range(rest.shape[1]):
        column = torch.round(rest[:, k]).clamp_(-LARGEST, LARGEST)
        if k // distance % 2:
            other = stored[:, k - distance]
            column = torch.maximum(torch.minimum(column, PAIR - other), -PAIR - other)
        stored[:, k] = column
        error = (rest[:, k] - column) / factors[:, k, k, None]
        rest[:, k + 1 :] -= factors[:, k, k + 1 :, None] * error[:, None]
    return stored.transpose(1, 2).flatten(0, 1)


def _inverse_factor(covariance: Tensor) -> Tensor:
    """The upper triangle U with ``inverse of the damped covariance = U^T U``.

    The identity, which leaves every error where it is, where inputs hardly vary at all.
    """
    variance = covariance.diagonal().mean()
    # Seen from the last input to the first, a lower Cholesky factor is an upper one.
    flipped = covariance.flip(0, 1)
    identity = torch.eye(len(covariance))
    # What few samples leave undetermined may come out below zero by rounding: then damp it more.
    for damping in (DAMPING, 10 * DAMPING, 1.0):
        lower, failed = torch.linalg.cholesky_ex(flipped + damping * variance * identity)
        if not failed and variance > 0:
            return torch.linalg.solve_triangular(lower.flip(0, 1), identity, upper=True)
    return identity


def pairs_are_exact(weight: NDArray[np.int8]) -> bool:
    """Whether a stored weight (out, in, ...) obeys the bound of every pair."""
    count = weight.shape[1] // 2 * 2
    sums = weight[:, 0:count:2].astype(np.int16) + weight[:, 1:count:2]
    return bool((np.abs(sums) <= PAIR).all())
