"""Weights of detectors: published names and formats, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.detection.retinanet import RETINANET
from models.detection.ssd_mobilenet import SSD_MOBILENET, SSD_MOBILENET_V2
from models.detection.ssd_resnet34 import SSD_RESNET34
from models.detection.task import DetectionTask
from models.detection.weights import load_weights
from models.errors import WeightsError

TASKS = [RETINANET, SSD_RESNET34, SSD_MOBILENET, SSD_MOBILENET_V2]


class Decoding(nn.Module):
    """A network with what published files have behind it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = self.network(x)
        half = len(outputs) // 2
        boxes, classes = (
            torch.cat([o.flatten(1) for o in part], 1) for part in (outputs[:half], outputs[half:])
        )
        return boxes, torch.sigmoid(classes)


class Unnormalised(Decoding):
    """The same for pixels in 0..1."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return super().forward((x - 0.5) / 0.5)


def random(task: DetectionTask) -> nn.Module:
    torch.manual_seed(0)
    network = task.network().eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):  # what goes in is seen in what comes out
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network


def same(one: nn.Module, other: nn.Module) -> bool:
    state = other.state_dict()
    return all(
        torch.allclose(tensor, state[name], rtol=1e-5, atol=1e-6)
        for name, tensor in one.state_dict().items()
    )


def test_published_names_and_sizes() -> None:
    names = RETINANET.network().state_dict()
    for name in (
        "backbone.body.layer1.0.downsample.1.running_var",
        "backbone.fpn.inner_blocks.2.bias",
        "backbone.fpn.extra_blocks.p7.weight",
        "head.classification_head.conv.6.weight",
        "head.regression_head.bbox_reg.bias",
    ):
        assert name in names
    assert list(names["head.classification_head.cls_logits.weight"].shape) == [2376, 256, 3, 3]
    assert sum(p.numel() for p in RETINANET.network().parameters()) == 37_128_876
    names = SSD_RESNET34.network().state_dict()
    for name in (
        "model.layer1.0.weight",
        "model.layer1.4.2.bn2.running_mean",
        "model.layer1.5.0.downsample.0.weight",
        "model.layer2.0.5.conv2.weight",
        "additional_blocks.4.2.bias",
    ):
        assert name in names
    assert list(names["conf.1.weight"].shape) == [486, 512, 3, 3]
    assert sum(p.numel() for p in SSD_RESNET34.network().parameters()) == 19_972_534


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_outputs_have_the_parts_shapes(task: DetectionTask) -> None:
    with torch.device("meta"):
        network = task.network()
        outputs = network(torch.zeros(1, 3, task.sample.height, task.sample.width))
    fields = task.parts[0].outputs
    assert [tuple(output.shape[1:]) for output in outputs] == [field.shape for field in fields]


def test_a_training_checkpoint_and_safetensors(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    network = random(SSD_MOBILENET_V2)
    state = network.state_dict()
    torch.save({"model": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, tmp_path / "a")
    save_file(state, tmp_path / "b")
    for name in "ab":
        assert same(network, load_weights(SSD_MOBILENET_V2, tmp_path / name))


def test_norms_of_ssd_mobilenet_v1_are_folded(tmp_path: Path) -> None:
    network = random(SSD_MOBILENET)
    published: dict[str, torch.Tensor] = {}
    for name, tensor in network.state_dict().items():
        layer, _, what = name.rpartition(".")
        if not layer.startswith("backbone."):
            published[name] = tensor
        elif what == "bias":
            published[f"{layer}/BatchNorm.bias"] = tensor
        elif layer.endswith("depthwise"):
            published[name] = tensor / 4
            published[f"{layer}/BatchNorm.scale"] = torch.full((len(tensor),), 4.0)
        else:
            published[name] = tensor
    torch.save(published, tmp_path / "v1.pth")
    assert same(network, load_weights(SSD_MOBILENET, tmp_path / "v1.pth"))


def test_a_torchscript_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = random(SSD_MOBILENET_V2)
    script = torch.jit.trace(Decoding(network), torch.zeros(1, 3, 300, 300))
    torch.jit.save(script, str(tmp_path / "script.pth"))
    monkeypatch.setattr(torch.jit, "load", None)
    assert same(network, load_weights(SSD_MOBILENET_V2, tmp_path / "script.pth"))


def test_onnx_with_its_decoding_behind(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    network = random(SSD_MOBILENET_V2)
    path = tmp_path / "v2.onnx"
    example = torch.zeros(1, 3, 300, 300)
    torch.onnx.export(Unnormalised(network), (example,), str(path), opset_version=13, dynamo=False)
    assert same(network, load_weights(SSD_MOBILENET_V2, path))
    proto = onnx.load(str(path))
    (first, *_) = [node for node in proto.graph.node if node.op_type == "Clip"]
    first.op_type = "Identity"
    del first.input[1:]
    onnx.save(proto, str(path))
    with pytest.raises(WeightsError, match="does not compute what it computes"):
        load_weights(SSD_MOBILENET_V2, path)
    with pytest.raises(WeightsError, match=r"no convolution \[273, 512, 1, 1\]|no convolution"):
        load_weights(SSD_MOBILENET, path)


def test_a_pickled_network_is_refused_with_the_cure(tmp_path: Path) -> None:
    torch.save(random(SSD_MOBILENET_V2), tmp_path / "whole.pytorch")
    with pytest.raises(WeightsError, match=r"state_dict\(\), 'weights.pth'\)"):
        load_weights(SSD_MOBILENET_V2, tmp_path / "whole.pytorch")


def test_weights_of_another_number_of_classes(tmp_path: Path) -> None:
    state = random(SSD_MOBILENET_V2).state_dict()
    state["cls.0.weight"] = torch.zeros(3 * 91, 576, 1, 1)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"wrong shape: cls.0.weight \[273, 576, 1, 1\]"):
        load_weights(SSD_MOBILENET_V2, tmp_path / "other.pth")


def test_seeded_weights_are_sure_of_some_detections() -> None:
    from models.detection.synthetic import infer_float, seeded_network
    from models.pixels import OverPixels

    task = SSD_MOBILENET_V2
    network = OverPixels(seeded_network(task), task.sample).eval()
    from models.task import Sources

    data = task.data(Sources())
    assert data.synthetic
    image = data.read(0)["image"]
    assert np.array_equal(image, data.read(0)["image"])
    found = infer_float(task, network, image)
    assert 3 < int((found.scores > 0.5).sum()) < len(found.scores)
