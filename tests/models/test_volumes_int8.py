from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from volume_cases import brats_network, kits19_network, noise, running

from models import volume_program
from models.quantize.deploy import UnsupportedNetworkError
from models.quantize.volumes import quantise_volumes, supported
from models.volume_program import Block, Double, Head
from netrun.engines.onednn.library import OneDNNError, find_library
from netrun.engines.volumes import kernels
from netrun.engines.volumes.network import VolumeNetwork

try:
    find_library()
    MISSING = ""
except OneDNNError as error:
    MISSING = str(error)
onednn = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def ignored(done: int, total: int) -> None:
    pass


@pytest.mark.parametrize(
    ("voxels", "channels"), [(20_000, 32), (1000, 320), (64, 8), (512, 16), (27, 320), (128, 24)]
)
def test_moments_are_those_of_each_channel(voxels: int, channels: int) -> None:
    volume = np.random.default_rng(0).integers(-128, 128, (voxels, channels), np.int8)
    wide = volume.astype(np.float64)
    assert_allclose(kernels.moments(volume), [wide.sum(0), (wide**2).sum(0)], rtol=1e-4)


@pytest.mark.parametrize("slope", [None, 0.0, 0.01])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize(("voxels", "channels"), [(4096, 32), (30, 320), (64, 8), (128, 24)])
@pytest.mark.parametrize("joined", [False, True])
def test_values_are_normalised_rounded_and_saturated(
    voxels: int, channels: int, dtype: Any, slope: float | None, joined: bool
) -> None:
    random = np.random.default_rng(1)
    volume = random.integers(-128, 128, (voxels, channels), np.int8)
    factors = random.standard_normal((2, channels)).astype(np.float32)
    wide = channels * (1 + joined)
    whole = np.full((voxels, wide), 77, dtype)
    kernels.normalise(volume, factors, whole[:, wide - channels :], slope)
    real = volume * factors[0].astype(np.float64) + factors[1]
    if slope is not None:
        real = np.maximum(real, real * slope)
    limits = np.iinfo(dtype)
    expected = np.clip(real, limits.min, limits.max)
    assert np.abs(whole[:, wide - channels :] - expected).max() <= 0.501
    assert (whole[:, : wide - channels] == 77).all()  # the other half of a join


@pytest.mark.parametrize("make", [kits19_network, brats_network])
def test_a_program_has_a_block_for_each_norm_and_copies_nothing_to_join(
    make: Any, tmp_path: Path
) -> None:
    network = make()
    image = noise(network.widths.inputs, 16, 16, 16)
    program = quantise_volumes(network, [{"image": image}], ignored)
    kinds = [type(operation) for operation in program.operations]
    assert (kinds.count(Block), kinds.count(Double), kinds[-1]) == (10, 2, Head)
    joins = {tensor.host for tensor in program.tensors.values() if tensor.host}
    assert len(joins) == 2
    for name in joins:
        assert name is not None
        parts = [tensor for tensor in program.tensors.values() if tensor.host == name]
        assert sum(part.channels for part in parts) == program.tensors[name].channels
    assert sum(program.macs((16, 16, 16)).values()) == network.widths.macs((16, 16, 16))
    program.save(tmp_path / "program", {"of": "test"})
    again, facts = volume_program.load(tmp_path / "program")
    assert facts == {"of": "test"}
    assert again.describe() == program.describe()


def test_what_is_rare_in_a_window_is_not_cut_off() -> None:
    image = noise(1, 16, 16, 16)
    image[0, 3, 3, 3] = 50.0
    program = quantise_volumes(kits19_network(), [{"image": image}], ignored)
    (steps,) = program.constants[f"{program.input}.steps"]
    assert 127 * steps == pytest.approx(50.0)


@onednn
@pytest.mark.parametrize("make", [kits19_network, brats_network])
def test_int8_is_close_to_float32_at_every_shape(make: Any) -> None:
    network = make()
    inputs = network.widths.inputs
    image = noise(inputs, 32, 32, 32)
    program = quantise_volumes(network, [{"image": image}], ignored)
    quantised = VolumeNetwork(program, threads=1)
    for window in (image, noise(inputs, 32, 32, 32, number=1), noise(inputs, 32, 48, 16)):
        ours = quantised(window)
        exact = running(network)(image=[window])["logits"][0]
        assert ours.shape == exact.shape
        assert np.corrcoef(ours.ravel(), exact.ravel())[0, 1] > 0.99
    described = quantised.describe()["windows"]["32x48x16"]
    assert len(described["kernels"]) == 13
    with pytest.raises(ValueError, match="must divide by 4"):
        quantised(noise(inputs, 32, 32, 30))


@onednn
def test_two_threads_compute_what_one_does() -> None:
    network = kits19_network()
    image = noise(1, 16, 16, 16)
    program = quantise_volumes(network, [{"image": image}], ignored)
    one = VolumeNetwork(program, threads=1)(image).copy()
    two = VolumeNetwork(program, threads=2)
    try:
        # Moments are added up in another order: a value may be rounded the other way.
        assert np.abs(two(image) - one).max() < 0.05 * np.abs(one).max()
    finally:
        two.lib.set_threads(1)  # others use the same OpenMP


def test_networks_of_another_kind_are_refused() -> None:
    for network in (
        torch.nn.Sequential(torch.nn.Conv3d(1, 8, 3, padding=1), torch.nn.ReLU()),
        torch.nn.Linear(3, 3),
        torch.nn.Sequential(torch.nn.Conv3d(1, 8, 5), torch.nn.InstanceNorm3d(8), torch.nn.ReLU()),
    ):
        assert not supported(network)
        with pytest.raises(UnsupportedNetworkError):
            quantise_volumes(network, [], ignored)
    assert supported(kits19_network())
    with pytest.raises(ValueError, match="no calibration windows"):
        quantise_volumes(kits19_network(), [], ignored)
