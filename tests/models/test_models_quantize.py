"""Quantisation and lowering: the program is what the network says, layer by layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import program
from models.program import Convolution, Linear, MaxPool
from models.quantize.calibrate import pixels, quantize, reference_graph
from models.quantize.correct import correct_bias, float_weights
from models.quantize.deploy import UnsupportedNetworkError, export_network
from models.quantize.lower import lower
from models.quantize.rounding import pairs_are_exact
from models.quantize.statistics import InputStatistics
from models.sample import SampleFormat

SAMPLE = SampleFormat(
    height=32,
    width=32,
    pad=(3, 3, 3, 3),
    fill=(124, 116, 104),
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
)


class Small(nn.Module):
    """A stem, a residual block with a projection, one without, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 7, 2, 3, bias=False)
        self.stem_bn = nn.BatchNorm2d(16)
        self.project = nn.Conv2d(16, 32, 1, 2)
        self.a = nn.Conv2d(16, 32, 3, 2, 1)
        self.b = nn.Conv2d(32, 32, 3, 1, 1)
        self.c = nn.Conv2d(32, 32, 1)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem_bn(self.stem(x))), 3, 2, 1)
        x = F.relu(self.b(F.relu(self.a(x))) + self.project(x))
        x = F.relu(self.c(x) + x)
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def small_network() -> nn.Module:
    torch.manual_seed(5)
    network = Small().train()
    network(torch.randn(16, 3, 32, 32))  # batch statistics that are not 0 and 1
    return network.eval()


def random_samples(count: int, seed: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    interior = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return np.stack([SAMPLE.bordered(image) for image in interior])


def nothing(done: int, total: int) -> None:
    """Progress that nobody watches."""


def test_folding_the_input_keeps_the_function() -> None:
    network, samples = small_network(), random_samples(4)
    graph = export_network(network, SAMPLE, 4)
    with torch.no_grad():
        expected = network(torch.from_numpy(SAMPLE.normalise(samples)))
        # The border is the mean rounded to whole pixels: not quite the zero padding it stands for.
        torch.testing.assert_close(graph(pixels(samples)), expected, atol=2e-2, rtol=0)


def test_operations_of_the_program() -> None:
    lowered = quantize(small_network(), SAMPLE, random_samples(16), nothing)
    kinds = [type(operation) for operation in lowered.operations]
    assert kinds == [*kinds[:1], MaxPool, *[Convolution] * 5, Linear]
    by_name = {operation.name: operation for operation in lowered.operations}
    stem, b, project = by_name["stem"], by_name["b"], by_name["project"]
    assert isinstance(stem, Convolution)
    assert isinstance(b, Convolution)
    assert isinstance(project, Convolution)
    assert stem.padding == (0, 0, 0, 0)
    assert lowered.tensors[lowered.input] == program.Tensor((38, 38, 3), "u8", 1.0)
    addend = project if b.residual else b
    assert {b.residual, project.residual} == {None, addend.output}
    for operation in lowered.operations[:-1]:
        signed = operation is addend
        assert lowered.tensors[operation.output].dtype == ("s8" if signed else "u8")
    mean = lowered.operations[-2]
    assert lowered.tensors[mean.output].scale < lowered.tensors[mean.source].scale
    assert lowered.tensors[lowered.output].dtype == "f32"
    assert lowered.macs()["stem"] == 7 * 7 * 3 * 16 * 16 * 16
    assert lowered.macs()["head"] == 32 * 10


def test_a_program_survives_its_file(tmp_path: Path) -> None:
    lowered = quantize(small_network(), SAMPLE, random_samples(8), nothing)
    lowered.save(tmp_path / "p", {"model": "small"})
    loaded, facts = program.load(tmp_path / "p")
    assert facts == {"model": "small"}
    assert loaded.describe() == lowered.describe()
    for name, constant in lowered.constants.items():
        np.testing.assert_array_equal(loaded.constants[name], constant)


def test_quantised_weights_stand_for_the_float_weights() -> None:
    network = small_network()
    lowered = quantize(network, SAMPLE, random_samples(8), nothing)
    exact = network.get_parameter("c.weight").detach().numpy()
    scales = lowered.constants["c.scales"].reshape(-1, 1, 1, 1)
    restored = lowered.constants["c.weight"].astype(np.float32) * scales
    # A weight makes up for the errors of others, so it may be a few steps from its own value.
    assert np.abs(restored - exact).max() <= 8 * scales.max()
    assert np.abs(restored - exact).mean() <= scales.max()
    assert np.abs(lowered.constants["c.weight"]).max(axis=(1, 2, 3)).min() >= 64


def test_int8_follows_fp32() -> None:
    network, samples = small_network(), random_samples(8, seed=7)
    graph = reference_graph(network, SAMPLE, random_samples(64), nothing)
    with torch.no_grad():
        expected = network(torch.from_numpy(SAMPLE.normalise(samples)))
        error = (graph(pixels(samples)) - expected).abs().max() / expected.abs().max()
    assert error < 0.05


def test_relu6_at_the_end_of_asymmetric_padding() -> None:
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.depthwise = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 8, 3, 2, groups=8)
            self.head = nn.Conv2d(8, 5, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu6(self.stem(F.pad(x, (0, 1, 0, 1))))
            x = F.relu6(self.depthwise(F.pad(x, (0, 1, 0, 1))))
            return torch.flatten(self.head(F.adaptive_avg_pool2d(x, 1)), 1)

    torch.manual_seed(1)
    sample = SampleFormat(
        height=32, width=32, pad=(0, 1, 0, 1), fill=(128,) * 3, mean=(127.5,) * 3, std=(127.5,) * 3
    )
    samples = np.random.default_rng(0).integers(0, 256, (8, 33, 33, 3), dtype=np.uint8)
    lowered = quantize(Same().eval(), sample, samples, nothing)
    first, second, _, head = lowered.operations
    assert isinstance(first, Convolution)
    assert isinstance(second, Convolution)
    assert (first.padding, second.padding) == ((0, 0, 0, 0), (0, 1, 0, 1))
    assert first.clamp == second.clamp == 6.0
    assert isinstance(head, Linear)
    assert lowered.constants["head.weight"].shape == (5, 8)


def test_a_network_no_engine_executes_is_refused() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 4, 7, 2, 3), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.sigmoid(self.stem(x))
            return self.head(x.mean((2, 3)))

    with pytest.raises(UnsupportedNetworkError, match=r"sigmoid|not quantised"):
        quantize(Odd().eval(), SAMPLE, random_samples(8), nothing)


def test_a_head_over_several_positions_is_refused() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 4, 7, 16, 3), nn.Linear(16, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.relu(self.stem(x)).flatten(1))

    with pytest.raises(UnsupportedNetworkError, match="over several positions"):
        quantize(Flat().eval(), SAMPLE, random_samples(8), nothing)


def test_a_border_that_is_not_the_padding_is_refused() -> None:
    sample = SampleFormat(
        height=32, width=32, pad=(1, 1, 1, 1), fill=(0, 0, 0), mean=(0.0,) * 3, std=(1.0,) * 3
    )
    with pytest.raises(UnsupportedNetworkError, match="border"):
        export_network(small_network(), sample, 2)


def test_too_few_calibration_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        quantize(small_network(), SAMPLE, random_samples(7), nothing)


def test_bias_correction_removes_the_shift_of_rounded_weights() -> None:
    network, samples = small_network(), random_samples(32)
    graph = export_network(network, SAMPLE, 8)
    exact = float_weights(graph)
    observed = InputStatistics(graph)
    with torch.no_grad():
        for start in range(0, 32, 8):
            observed.run(pixels(samples[start : start + 8]))
    means = {name: mean.numpy() for name, mean in observed.means().items()}
    lowered = lower(reference_graph(network, SAMPLE, samples, nothing), SAMPLE.shape)
    corrected = correct_bias(lowered, exact, means)
    scales = lowered.constants["c.scales"].reshape(-1, 1, 1, 1)
    error = torch.from_numpy(lowered.constants["c.weight"] * scales - exact["c"])
    inputs = torch.from_numpy(means["c"]).view(1, -1, 1, 1)
    shift = F.conv2d(inputs, error).flatten().numpy()
    moved = lowered.constants["c.bias"] - corrected.constants["c.bias"]
    assert np.abs(shift).max() > 0
    np.testing.assert_allclose(moved, shift, rtol=1e-3, atol=1e-6)


def test_no_layer_of_a_program_can_saturate() -> None:
    lowered = quantize(small_network(), SAMPLE, random_samples(16), nothing)
    weights = [v for name, v in lowered.constants.items() if name.endswith(".weight")]
    assert len(weights) == 7  # and the mean's, which is grouped
    assert all(pairs_are_exact(weight) for weight in weights if weight.shape[1] > 1)
