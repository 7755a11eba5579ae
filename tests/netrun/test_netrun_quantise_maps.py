"""Quantisation of networks with several maps: what is lowered, and how near it comes."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from netrun_programs import expected_outputs
from torch import Tensor, nn

from models.detection.ssd_mobilenet import SSD_MOBILENET_V2
from models.detection.weights import load_weights
from models.gated import Gated
from models.program import Convolution, Program, Upsample
from models.quantize.calibrate import quantize
from models.quantize.deploy import UnsupportedNetworkError, export_network
from models.quantize.equalise import equalise
from models.quantize.rounding import pairs_are_exact, round_weights
from models.sample import SampleFormat
from models.task import Field
from netrun.engines.onednn.batches import as_they_are
from netrun.engines.onednn.compiler import packed
from netrun.engines.onednn.executor import Executor
from netrun.engines.onednn.stages import cut

SAMPLE = SampleFormat(
    height=32, width=32, pad=(1, 1, 1, 1), fill=(128, 128, 128), mean=(127.5,) * 3, std=(127.5,) * 3
)


class Maps(nn.Module):
    """A grouped body, a pyramid of two levels and one beyond behind a ReLU, a head for all."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, stride=2)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.deep = nn.Conv2d(16, 32, 3, padding=1, stride=2)
        self.inner = nn.ModuleList([nn.Conv2d(16, 8, 1), nn.Conv2d(32, 8, 1)])
        self.beyond = nn.ModuleList([nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)])
        self.head = nn.Conv2d(8, 6, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        fine = F.relu(self.grouped(F.relu(self.stem(x))))
        coarse = self.inner[1](F.relu(self.deep(fine)))
        merged = self.inner[0](fine) + F.interpolate(coarse, size=fine.shape[-2:], mode="nearest")
        small = self.beyond[0](coarse)
        maps = [merged, coarse, small, self.beyond[1](F.relu(small))]
        return tuple(self.head(m).permute(0, 2, 3, 1) for m in maps)


OUTPUTS = [
    Gated("scores", "<f4", (16, 16, 6), 0.1, 3.0),
    *(Field(f"map{size}", "<f4", (size, size, 6)) for size in (8, 4, 2)),
]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(3)
    return Maps().eval()


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, *SAMPLE.shape), np.uint8)


@pytest.fixture(scope="module")
def program(network: nn.Module, samples: np.ndarray) -> Program:
    return quantize(network, SAMPLE, samples, lambda done, total: None, OUTPUTS)


def test_what_is_lowered(program: Program) -> None:
    by_name = {operation.name: operation for operation in program.operations}
    heads = [o for o in by_name.values() if isinstance(o, Convolution) and o.layer == "head"]
    assert [o.name for o in heads] == ["head", "head@2", "head@3", "head@4"]
    (upsample,) = [o for o in by_name.values() if isinstance(o, Upsample)]
    assert by_name["inner.0"].residual == upsample.output  # type: ignore[union-attr]
    # What is read both before and after its ReLU is computed twice, from the same weights.
    again = by_name["beyond.0@2"]
    assert isinstance(again, Convolution)
    assert (again.shares, again.clamp) == ("beyond.0", float("inf"))
    first, *others = (program.tensors[name] for name in program.outputs)
    assert (first.dtype, first.offset) == ("u8", 0.1)
    assert first.scale == pytest.approx(2.9 / 255)
    assert [tensor.dtype for tensor in others] == ["f32"] * 3


def test_outputs_are_near_those_in_float(
    network: nn.Module, samples: np.ndarray, program: Program
) -> None:
    with torch.no_grad():
        exact = [o.numpy() for o in network(torch.from_numpy(SAMPLE.normalise(samples)))]
    values = expected_outputs(program, samples)
    gated, *others = values
    first = np.where(gated > 0, 0.1 + gated * program.tensors[program.output].scale, 0.1)
    assert np.abs(first - exact[0].clip(0.1, 3.0)).max() < 0.1
    for found, wanted in zip(others, exact[1:], strict=True):
        assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.03 * wanted.std()
    compiled = packed(program, cut(program, 4, 1 << 20), as_they_are(4), 1)
    executor = Executor(compiled, 4, 1)
    executor.run(samples, [0, 1, 2, 3])
    for got, wanted in zip(executor.results(4), values, strict=True):
        assert np.abs(got.astype(float) - wanted[:4]).max() < 0.02 * np.abs(wanted).max() + 3 * (
            got.dtype == np.uint8
        )


def test_equalising_changes_ranges_and_no_outputs(network: nn.Module, samples: np.ndarray) -> None:
    graph = export_network(network, SAMPLE, 8)
    with torch.no_grad():  # a channel of the pyramid that is far larger than the others
        for layer in ("inner.0", "inner.1"):
            graph.get_parameter(f"{layer}.weight")[2] *= 50
    pixels = torch.from_numpy(samples[:8]).permute(0, 3, 1, 2).float()
    before = [output.clone() for output in graph(pixels)]
    weight = graph.get_parameter("inner.0.weight").detach().clone()
    equalise(graph, [pixels])
    for one, other in zip(graph(pixels), before, strict=True):
        assert torch.allclose(one, other, atol=1e-4 * float(other.abs().max()))
    ratio = (graph.get_parameter("inner.0.weight") / weight).detach()[:, 0, 0, 0]
    assert float(ratio[2] / ratio[[0, 1, 3]].max()) < 0.2


def test_grouped_weights_keep_the_bound_of_pairs_and_use_their_covariance() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 4, 3, 3, generator=generator)
    inputs = torch.randn(2, 500, 36, generator=generator) @ torch.randn(
        2, 36, 36, generator=generator
    )
    covariance = inputs.transpose(1, 2) @ inputs / 500

    def error(stored: Tensor, scales: Tensor) -> float:
        off = (stored * scales.view(-1, 1, 1, 1) - weight).reshape(2, 4, 36)
        return float((off @ covariance * off).sum())

    plain, nearest_scales = round_weights(weight, None)
    better, scales = round_weights(weight, covariance)
    assert pairs_are_exact(plain.numpy())
    assert pairs_are_exact(better.numpy())
    assert torch.equal(scales, nearest_scales)
    assert error(better, scales) < 0.5 * error(plain, nearest_scales)


class Odd(nn.Module):
    """An output with its channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(F.relu(self.stem(x)))
        return found


def test_maps_with_channels_first_are_refused(samples: np.ndarray) -> None:
    with pytest.raises(UnsupportedNetworkError):
        quantize(Odd().eval(), SAMPLE, samples, lambda done, total: None, OUTPUTS[1:2])


def test_a_trained_detector_in_int8(shared_data: Path) -> None:
    pytest.importorskip("cv2", reason="the extra `detection` is not installed")
    from models.detection.preprocess import decode, sample_of, scaled

    task, folder = SSD_MOBILENET_V2, shared_data / "detection"
    network = load_weights(task, folder / "ssd_mobilenetv2_oidv4.pth")
    images = sorted((folder / "coco50" / "images").iterdir())[:9]
    pixels = [
        sample_of(scaled(decode(path), 300, 300), task.sample, "|u1", task.resize)
        for path in images
    ]
    samples = np.stack(pixels)
    program = quantize(
        network, task.sample, samples[:8], lambda done, total: None, task.parts[0].outputs
    )
    executor = Executor(packed(program, cut(program, 1, 1 << 21), [[1]], 1), 1, 1)
    executor.run(samples, [8])
    with torch.no_grad():
        exact = network(torch.from_numpy(task.sample.normalise(samples[8:])))
    for found, wanted in zip(executor.results(1), exact, strict=True):
        assert np.sqrt(np.mean((found - wanted.numpy()) ** 2)) < 0.1 * float(wanted.std())
