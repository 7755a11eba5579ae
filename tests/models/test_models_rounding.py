"""Rounding of weights: the least error of outputs, within the bound of what kernels add exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from models.quantize import statistics
from models.quantize.quantizer import CONVOLUTIONS, calls
from models.quantize.rounding import pairs_are_exact, round_weights


def inputs(count: int, width: int, seed: int = 0) -> Tensor:
    """Inputs that go together, as neighbouring pixels do."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(width, width, generator=generator)
    return torch.randn(count, width, generator=generator) @ mixed


def weights(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def error(exact: Tensor, rounded: tuple[Tensor, Tensor], sample: Tensor) -> float:
    """Squared error of the outputs whose mean error has been taken out."""
    stored, scales = rounded
    wrong = stored.flatten(1).float() * scales[:, None] - exact.flatten(1)
    return float(((sample - sample.mean(0)) @ wrong.T).square().mean())


@pytest.mark.parametrize("shape", [(8, 32), (8, 32, 1, 1), (5, 7, 3, 3), (4, 3, 7, 7)])
def test_outputs_err_less_than_with_the_nearest_integers(shape: tuple[int, ...]) -> None:
    exact = weights(*shape)
    sample = inputs(4000, exact[0].numel())
    passed_on = round_weights(exact, torch.cov(sample.T))
    nearest = round_weights(exact, torch.eye(exact[0].numel()))
    torch.testing.assert_close(passed_on[1], nearest[1])
    assert error(exact, passed_on, sample) < 0.7 * error(exact, nearest, sample)


def test_without_a_covariance_it_is_the_nearest_integer() -> None:
    exact = weights(6, 1, 3, 3)
    stored, scales = round_weights(exact, None)
    torch.testing.assert_close(scales, exact.abs().amax((1, 2, 3)) / 127)
    assert (
        (stored * scales.view(-1, 1, 1, 1) - exact).abs().amax((1, 2, 3)) <= scales / 1.99
    ).all()
    assert stored.abs().amax((1, 2, 3)).min() == 127


@given(
    st.integers(1, 5),
    st.integers(1, 9),
    st.sampled_from([(), (1, 1), (3, 3)]),
    st.integers(0, 1000),
    st.floats(0.0, 1.0),
)
def test_no_pair_can_saturate(
    out: int, channels: int, kernel: tuple[int, ...], seed: int, alike: float
) -> None:
    # Channels that are much alike make pairs of large weights of one sign.
    exact = weights(out, channels, *kernel, seed=seed)
    exact = alike * exact[:, :1] + (1 - alike) * exact
    sample = inputs(64, exact[0].numel(), seed)
    stored, scales = round_weights(exact, torch.cov(sample.T).view(2 * (exact[0].numel(),)))
    assert stored.shape == exact.shape
    assert pairs_are_exact(stored.numpy())
    # 255 * 255 = 65025: a product of two bytes at most; the sum of two must stay below 2^15.
    pair = stored[:, : channels // 2 * 2].to(torch.int64).unflatten(1, (-1, 2)).sum(2) * 255
    assert pair.abs().max() < 2**15 if channels > 1 else True
    # The bound never takes more than one of the eight bits.
    assert (scales <= exact.flatten(1).abs().amax(1) / 63).all()


def test_a_pair_beyond_the_bound_is_noticed() -> None:
    assert pairs_are_exact(np.array([[127, 1, 64, 64, 127]], np.int8))
    assert pairs_are_exact(np.array([[127, -127]], np.int8))
    assert not pairs_are_exact(np.array([[64, 65]], np.int8))
    assert not pairs_are_exact(np.array([[-127, -2]], np.int8))


def test_layers_and_inputs_of_zeros_are_no_exception() -> None:
    stored, scales = round_weights(torch.zeros(3, 4, 1, 1), torch.zeros(4, 4))
    assert not stored.any()
    assert torch.isfinite(scales).all()
    stored, scales = round_weights(weights(3, 4), torch.zeros(4, 4))
    torch.testing.assert_close(stored * scales[:, None], weights(3, 4), atol=0.02, rtol=0)


def test_a_covariance_that_rounding_spoilt_is_damped_until_it_serves() -> None:
    exact = weights(4, 16)
    sample = inputs(5, 16)  # five samples determine four directions of sixteen
    covariance = torch.cov(sample.T)
    covariance -= 0.02 * covariance.diagonal().mean() * torch.eye(16)
    assert torch.linalg.eigvalsh(covariance).min() < 0
    rounded = round_weights(exact, covariance)
    nearest = round_weights(exact, torch.eye(16))
    assert error(exact, rounded, sample) < error(exact, nearest, sample)


def test_a_small_variance_around_a_large_mean_is_not_lost() -> None:
    network = nn.Sequential(nn.Linear(3, 2)).eval()
    graph = torch.export.export(network, (torch.zeros(4096, 3),)).module()
    observed = statistics.InputStatistics(graph)
    samples = 1000 + 0.01 * inputs(8192, 3)
    with torch.no_grad():
        for batch in samples.split(4096):
            observed.run(batch)
    found = observed.take_covariance("0")
    assert found is not None
    torch.testing.assert_close(found, torch.cov(samples.T.double()).float(), rtol=0.02, atol=1e-6)


def test_statistics_are_those_of_the_inputs_of_all_positions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics, "POSITIONS", 10_000)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6))
    network.append(nn.Conv2d(6, 4, (1, 2), padding=(0, 1)))
    samples = torch.randn(5, 3, 12, 12)
    graph = torch.export.export(network.eval(), (samples,)).module()
    observed = statistics.InputStatistics(graph)
    with torch.no_grad():
        observed.run(samples)
        observed.run(samples * 2)
        first = torch.cat([samples, samples * 2])
        last = torch.cat([network[:3](batch) for batch in (samples, samples * 2)])
    torch.testing.assert_close(observed.means()["0"], first.mean((0, 2, 3)))
    torch.testing.assert_close(observed.means()["3"], last.mean((0, 2, 3)))
    for name, source, options in (
        ("0", first, {"kernel_size": 3, "stride": 2, "padding": 1}),
        ("3", last, {"kernel_size": (1, 2), "padding": (0, 1)}),
    ):
        windows = F.unfold(source, **options).transpose(1, 2).flatten(0, 1)  # type: ignore[arg-type]
        found = observed.take_covariance(name)
        assert found is not None
        torch.testing.assert_close(found, torch.cov(windows.T, correction=0), atol=1e-4, rtol=1e-4)
    assert observed.take_covariance("2") is None  # grouped
    assert [calls(node, CONVOLUTIONS) for node in graph.graph.nodes].count(True) == 3
