"""SSD on MobileNet-v1 and on MobileNetV2, both as TensorFlow's Object Detection API builds them.

The first has the structure of mlcommons/inference's models/ssd_mobilenet_v1.py, whose batch norms
are scales and biases, or biases alone: `models.detection.weights` folds them. Paddings are
TensorFlow's SAME: what is left over lies below and on the right.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 300
BOXES = (3, 6, 6, 6, 6, 6)
EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))
"""Channels of the 1x1 and of the 3x3 convolution before each further feature map."""
V1_CHANNELS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
V1_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
V1_MAPS = (11, 13)
"""Places in the backbone of the first two feature maps."""
V2_BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
             (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip
"""Expansion, channels, repetitions and first stride of the inverted residuals."""
V2_FIRST_MAP = 14
"""The block whose expansion is the first feature map."""


class Same(nn.Conv2d):
    """A convolution of an input of a known size, padded as TensorFlow's SAME."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, size: int, **rest: int
    ) -> None:
        beyond = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        before, self.uneven = beyond // 2, beyond % 2
        super().__init__(inputs, outputs, kernel, stride, before, **rest)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, inputs, size, size] to [n, outputs, size / stride, size / stride], rounded up."""
        if self.uneven:
            x = F.pad(x, (0, 1, 0, 1))
        return super().forward(x)


class Separable(nn.Sequential):
    """A depthwise 3x3 convolution and a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int, size: int) -> None:
        super().__init__(
            OrderedDict(
                {
                    "depthwise": Same(inputs, inputs, 3, stride, size, groups=inputs),
                    "depthwise/ReLU": nn.ReLU6(inplace=True),
                    "pointwise": nn.Conv2d(inputs, outputs, 1),
                    "pointwise/ReLU": nn.ReLU6(inplace=True),
                }
            )
        )


class Predictor(nn.Module):
    """The heads of a feature map."""

    def __init__(self, inputs: int, classes: int, boxes: int) -> None:
        super().__init__()
        self.classification = nn.Conv2d(inputs, classes * boxes, 1)
        self.regression = nn.Conv2d(inputs, 4 * boxes, 1)


class SSDMobileNetV1(nn.Module):
    """SSD-MobileNet-v1 1.0, 300x300. Its convolutions have the batch norms in them."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        size = _halved(SIZE)
        stem = OrderedDict({"0": Same(3, 32, 3, 2, SIZE), "0/ReLU": nn.ReLU6(inplace=True)})
        layers: list[nn.Module] = [nn.Sequential(stem)]
        inputs = 32
        for outputs, stride in zip(V1_CHANNELS, V1_STRIDES, strict=True):
            layers.append(Separable(inputs, outputs, stride, size))
            inputs, size = outputs, _halved(size) if stride == 2 else size
        self.backbone = nn.ModuleList(layers)
        channels = [V1_CHANNELS[place - 1] for place in V1_MAPS]
        self.extras = nn.ModuleList()
        for inner, outputs in EXTRAS:
            self.extras.append(
                nn.Sequential(
                    nn.Conv2d(channels[-1], inner, 1),
                    nn.ReLU6(inplace=True),
                    Same(inner, outputs, 3, 2, size),
                    nn.ReLU6(inplace=True),
                )
            )
            channels.append(outputs)
            size = _halved(size)
        self.predictors = nn.ModuleList(
            Predictor(n, classes, boxes) for n, boxes in zip(channels, BOXES, strict=True)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Box codes of six maps, [n, h, w, boxes * 4], then logits, [n, h, w, boxes * classes]."""
        boxes: list[Tensor] = []
        classes: list[Tensor] = []
        for place, layer in enumerate([*self.backbone, *self.extras]):
            x = layer(x)
            if place in V1_MAPS or place >= len(self.backbone):
                head = self.predictors[len(boxes)]
                boxes.append(head.regression(x).permute(0, 2, 3, 1))
                classes.append(head.classification(x).permute(0, 2, 3, 1))
        return (*boxes, *classes)


class Inverted(nn.Module):
    """An inverted residual: 1x1 expansion, depthwise 3x3, 1x1 projection, shortcut."""

    def __init__(self, inputs: int, outputs: int, factor: int, stride: int, size: int) -> None:
        super().__init__()
        inner = inputs * factor
        self.expand = nn.Conv2d(inputs, inner, 1) if factor > 1 else None
        self.depthwise = Same(inner, inner, 3, stride, size, groups=inner)
        self.project = nn.Conv2d(inner, outputs, 1)
        self.shortcut = stride == 1 and inputs == outputs

    def expanded(self, x: Tensor) -> Tensor:
        """What the depthwise convolution reads."""
        return x if self.expand is None else F.relu6(self.expand(x))

    def reduced(self, x: Tensor, expanded: Tensor) -> Tensor:
        """The block's output from its input and the expansion of that."""
        y = self.project(F.relu6(self.depthwise(expanded)))
        return y + x if self.shortcut else y


class SSDMobileNetV2(nn.Module):
    """SSD-MobileNetV2 1.0, 300x300, batch norms folded."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        size = _halved(SIZE)
        layers: list[nn.Module] = [Same(3, 32, 3, 2, SIZE)]
        inputs = 32
        for factor, outputs, repetitions, first in V2_BLOCKS:
            for stride in (first, *[1] * (repetitions - 1)):
                layers.append(Inverted(inputs, outputs, factor, stride, size))
                inputs, size = outputs, _halved(size) if stride == 2 else size
        layers.append(nn.Conv2d(inputs, 1280, 1))
        self.features = nn.ModuleList(layers)
        expansion = layers[V2_FIRST_MAP].expand
        assert isinstance(expansion, nn.Conv2d)
        channels = [expansion.out_channels, 1280]
        self.extras = nn.ModuleList()
        for inner, outputs in EXTRAS:
            reduction = nn.Conv2d(channels[-1], inner, 1)
            self.extras.append(nn.ModuleList([reduction, Same(inner, outputs, 3, 2, size)]))
            channels.append(outputs)
            size = _halved(size)
        pairs = list(zip(channels, BOXES, strict=True))
        self.box = nn.ModuleList(nn.Conv2d(n, 4 * boxes, 1) for n, boxes in pairs)
        self.cls = nn.ModuleList(nn.Conv2d(n, classes * boxes, 1) for n, boxes in pairs)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Box codes of six maps, [n, h, w, boxes * 4], then logits, [n, h, w, boxes * classes]."""
        heads = list(zip(self.box, self.cls, strict=True))
        found = []
        x = F.relu6(self.features[0](x))
        for place in range(1, len(self.features) - 1):
            block = self.features[place]
            expanded = block.expanded(x)
            if place == V2_FIRST_MAP:
                found.append(_both(heads[0], expanded))
            x = block.reduced(x, expanded)
        x = F.relu6(self.features[-1](x))
        found.append(_both(heads[1], x))
        for (reduction, convolution), head in zip(self.extras, heads[2:], strict=True):
            x = F.relu6(convolution(F.relu6(reduction(x))))
            found.append(_both(head, x))
        return (*(boxes for boxes, _ in found), *(classes for _, classes in found))


def _both(heads: tuple[nn.Module, nn.Module], x: Tensor) -> tuple[Tensor, Tensor]:
    return heads[0](x).permute(0, 2, 3, 1), heads[1](x).permute(0, 2, 3, 1)


def _halved(size: int) -> int:
    return (size + 1) // 2
