from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.imagenet.classifier import classifier
from models.imagenet.dataset import image_folder

# ResNet-50 v1.5: outputs of the four stages' 3x3 convolutions, their blocks, the first's stride.
RESNET50_STAGES = [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]

# MobileNet-v1 1.0 224: (height of the depthwise output, outputs of the pointwise convolution).
MOBILENET_PAIRS = [
    (112, 64),
    (56, 128),
    (56, 128),
    (28, 256),
    (28, 256),
    (14, 512),
    *[(14, 512)] * 5,
    (7, 1024),
    (7, 1024),
]


@pytest.mark.parametrize(("name", "count"), [("resnet50", 25_557_032), ("mobilenet", 4_222_057)])
def test_parameter_count(name: str, count: int) -> None:
    network = classifier(name).network()
    assert not network.training
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_resnet50_layers() -> None:
    shapes = {k: tuple(v.shape) for k, v in classifier("resnet50").network().state_dict().items()}
    expected = {"conv1.weight": (64, 3, 7, 7), "fc.weight": (1000, 2048), "fc.bias": (1000,)}
    inputs = 64
    for stage, (width, blocks, _) in enumerate(RESNET50_STAGES, start=1):
        for block in range(blocks):
            prefix = f"layer{stage}.{block}"
            expected[f"{prefix}.conv1.weight"] = (width, inputs, 1, 1)
            expected[f"{prefix}.conv2.weight"] = (width, width, 3, 3)
            expected[f"{prefix}.conv3.weight"] = (4 * width, width, 1, 1)
            if block == 0:
                expected[f"{prefix}.downsample.0.weight"] = (4 * width, inputs, 1, 1)
            inputs = 4 * width
    weights = {k: v for k, v in shapes.items() if len(v) > 1 or k.startswith("fc")}
    assert weights == expected
    assert len(shapes) == 320
    assert shapes["layer2.0.downsample.1.running_var"] == (512,)


def test_resnet50_strides_in_the_3x3_convolutions() -> None:
    convolutions = {
        name: module
        for name, module in classifier("resnet50").network().named_modules()
        if isinstance(module, nn.Conv2d)
    }
    assert len(convolutions) == 53
    strided = {name for name, module in convolutions.items() if module.stride == (2, 2)}
    assert strided == {
        "conv1",
        *(f"layer{stage}.0.conv2" for stage in (2, 3, 4)),
        *(f"layer{stage}.0.downsample.0" for stage in (2, 3, 4)),
    }


def test_resnet50_shortcut_bypasses_the_block() -> None:
    network = classifier("resnet50").network()
    block = network.layer1[1]
    nn.init.zeros_(block.bn3.weight)
    x = torch.randn(1, 256, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(block(x), x.clamp(min=0))


def test_mobilenet_layers() -> None:
    network = classifier("mobilenet").network()
    shapes = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    expected = {"features.0.weight": (32, 3, 3, 3), "features.0.bias": (32,)}
    inputs = 32
    for pair, (_, outputs) in enumerate(MOBILENET_PAIRS):
        expected[f"features.{2 * pair + 1}.weight"] = (inputs, 1, 3, 3)
        expected[f"features.{2 * pair + 1}.bias"] = (inputs,)
        expected[f"features.{2 * pair + 2}.weight"] = (outputs, inputs, 1, 1)
        expected[f"features.{2 * pair + 2}.bias"] = (outputs,)
        inputs = outputs
    expected |= {"classifier.weight": (1001, 1024, 1, 1), "classifier.bias": (1001,)}
    assert shapes == expected


def test_mobilenet_feature_sizes() -> None:
    network = classifier("mobilenet").network()
    heights: list[int] = []
    for module in network.features:
        module.register_forward_hook(lambda _module, _in, out: heights.append(out.shape[2]))
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 224, 224)).shape == (1, 1001)
    assert heights == [112, *(height for height, _ in MOBILENET_PAIRS for _ in range(2))]


def test_mobilenet_pads_below_and_to_the_right_at_stride_two() -> None:
    network = classifier("mobilenet").network()
    stem = network.features[0]
    with torch.inference_mode():
        stem.weight.fill_(1)
        stem.bias.zero_()
        pixels = torch.full((1, 3, 224, 224), 0.1)
        seen: list[torch.Tensor] = []
        stem.register_forward_hook(lambda _module, _in, out: seen.append(out))
        network(pixels)
    sums = seen[0][0, 0]
    # 3 x 3 pixels of 3 channels of 0.1 each; the last row and column lack one row or column.
    assert sums[0, 0] == pytest.approx(2.7)
    assert sums[0, 111] == sums[111, 0] == pytest.approx(1.8)
    assert sums[111, 111] == pytest.approx(1.2)


def test_mobilenet_activations_end_at_six() -> None:
    network = classifier("mobilenet").network()
    with torch.inference_mode():
        for module in network.features:
            module.weight.zero_()
            module.bias.fill_(100)
        assert (network.pooled(torch.zeros(1, 3, 224, 224)) == 6).all()


@pytest.mark.parametrize(
    ("name", "file", "good"),
    [
        ("resnet50", "resnet50_v1.5.pth", 58),
        ("mobilenet", "mobilenet_v1_1.0_224.pth", 55),
    ],
)
def test_fp32_accuracy_on_real_images(shared_data: Path, name: str, file: str, good: int) -> None:
    """Every tenth of the 650 images, of which resnet50 knows 527 and mobilenet 507."""
    model = classifier(name)
    dataset = image_folder(shared_data / "imagenet_val650")
    assert dataset.labels is not None
    samples = np.stack([model.preprocess(path) for path in dataset.files[::10]])
    network = model.load_weights(shared_data / "weights" / file)
    inputs = torch.from_numpy(model.sample.normalise(samples))
    with torch.inference_mode():
        logits = torch.cat(
            [
                network(part.contiguous(memory_format=torch.channels_last))
                for part in inputs.split(8)
            ]
        )
    answers = model.answers(logits.numpy())
    # Another libjpeg or another order of sums may turn the closest call.
    assert int((answers == np.array(dataset.labels[::10])).sum()) == pytest.approx(good, abs=1)
