"""Weights for the synthetic images: a seeded network and a head fitted on its features.

The layers below the head are random, but well-behaved: the mean and the spread of every channel
over some images are set layer by layer, and what thirty to fifty random layers would lose is
kept: residual branches are small beside the trunk, and most depthwise kernels pass the picture
through. Otherwise all images would come to look alike, and int8 rounding would be amplified.

The functions run under torch.no_grad().
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.mobilenet.network import MobileNet, activate, convolve
from models.resnet50.network import Bottleneck, ResNet50
from models.synthetic.head import fit_head

SEED = 20
STATISTICS = 32
"""Images that the channels' statistics are taken from."""
BATCH = 8
"""Images worked on at a time otherwise."""

BRANCH_SPREAD = 0.3
"""resnet50: spread of what a block adds to the trunk, whose own spread is 1 after a downsample."""
TRUNK_MEAN = 0.5
"""resnet50: mean of the channels before a ReLU, in units of their spread."""

TEXTURE_LAYERS = 4
"""mobilenet: convolutions whose depthwise kernels are mostly random, to respond to textures."""
TEXTURE_NOISE = 3.0
PASSING_NOISE = 0.03
"""mobilenet: random part of a depthwise kernel beside its centre of 1; first and later layers."""
CHANNEL_MEAN = 1.0
CHANNEL_SPREAD = 1.0
"""mobilenet: of the channels before a ReLU6; hardly any value reaches 6."""
BLUR = torch.outer(torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 1.0])) / 8
"""mobilenet: kernel that passes the picture through at stride 2: all pixels count equally."""

Step = Callable[[int], None]
"""Called with the number of images worked on so far."""


def fit_resnet50(network: ResNet50, images: Tensor, classes: Sequence[int], step: Step) -> None:
    """Set the weights from normalised images float32 [n, 3, 224, 224] and their outputs."""
    generator = torch.Generator().manual_seed(SEED)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            _randomise(module, generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, TRUNK_MEAN)
            # The running statistics become those of the one batch that follows.
            module.momentum = 1.0
    for module in network.modules():
        if isinstance(module, Bottleneck):
            nn.init.constant_(module.bn3.weight, BRANCH_SPREAD)
            nn.init.zeros_(module.bn3.bias)
    network.train()
    first = network.features(_arranged(images[:STATISTICS]))
    network.eval()
    step(STATISTICS)
    features = torch.cat([first, _in_batches(network.features, images[STATISTICS:], step)])
    weight, bias = fit_head(features.numpy(), classes, network.fc.out_features)
    network.fc.weight.copy_(torch.from_numpy(weight))
    network.fc.bias.copy_(torch.from_numpy(bias))


def fit_mobilenet(network: MobileNet, images: Tensor, classes: Sequence[int], step: Step) -> None:
    """Set the weights from normalised images float32 [n, 3, 224, 224] and their outputs."""
    generator = torch.Generator().manual_seed(SEED)
    x = _arranged(images[:STATISTICS])
    for i, convolution in enumerate(network.features):
        assert isinstance(convolution, nn.Conv2d)
        _randomise(convolution, generator)
        if convolution.groups > 1:
            noise = TEXTURE_NOISE if i < TEXTURE_LAYERS else PASSING_NOISE
            convolution.weight.mul_(3 * noise)
            if convolution.stride == (2, 2):
                convolution.weight.add_(BLUR)
            else:
                convolution.weight[:, :, 1, 1] += 1
        nn.init.zeros_(convolution.bias)
        spread, mean = torch.std_mean(convolve(convolution, x), dim=(0, 2, 3))
        scale = CHANNEL_SPREAD / spread
        convolution.weight.mul_(scale[:, None, None, None])
        convolution.bias.copy_(CHANNEL_MEAN - mean * scale)
        x = activate(convolution, x)
    step(STATISTICS)
    first = F.adaptive_avg_pool2d(x, 1)
    features = torch.cat([first, _in_batches(network.pooled, images[STATISTICS:], step)])
    weight, bias = fit_head(features.flatten(1).numpy(), classes, network.classifier.out_channels)
    network.classifier.weight.copy_(torch.from_numpy(weight)[:, :, None, None])
    network.classifier.bias.copy_(torch.from_numpy(bias))


def _randomise(convolution: nn.Conv2d, generator: torch.Generator) -> None:
    """Draw the kernels from a normal distribution that keeps the spread of their input."""
    weight = convolution.weight
    kernels = torch.randn(weight.shape, generator=generator)
    weight.copy_(kernels / math.sqrt(weight[0].numel()))


def _in_batches(features: Callable[[Tensor], Tensor], images: Tensor, step: Step) -> Tensor:
    """Return the features of the images behind those of the statistics."""
    parts = []
    for batch in images.split(BATCH):
        parts.append(features(_arranged(batch)))
        step(STATISTICS + BATCH * len(parts))
    return torch.cat(parts)


def _arranged(images: Tensor) -> Tensor:
    """Return the images channels last, which the convolutions work through in half the time."""
    return images.contiguous(memory_format=torch.channels_last)


FITS: dict[str, Callable[..., None]] = {"resnet50": fit_resnet50, "mobilenet": fit_mobilenet}
"""By the name of the model: sets a network's weights from images and their outputs."""
