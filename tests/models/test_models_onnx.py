"""Weights from ONNX files, made here in the form that MLPerf's files have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from base import unchanged
from models.errors import WeightsError
from models.imagenet.classifier import Classifier, classifier
from models.mobilenet.network import MobileNet
from models.resnet50.network import ResNet50

onnx = pytest.importorskip("onnx", reason="onnx is not installed (the extra 'onnx')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (the extra 'onnx')")

from onnx_models import seeded, write_mobilenet, write_resnet50  # noqa: E402


def logits(network: Any, model: Classifier) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(3)
    samples = rng.integers(0, 256, (2, *model.sample.shape), np.uint8)
    with torch.inference_mode():
        result: np.ndarray[Any, Any] = network(
            torch.from_numpy(model.sample.normalise(samples))
        ).numpy()
    return result


def assert_same(network: Any, path: Path, model: Classifier) -> None:
    expected = logits(network, model)
    assert np.abs(expected).max() < 1e6
    found = logits(model.load_weights(path), model)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def refused(model: str, path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        classifier(model).fitting(path).load_weights(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.fixture(scope="module")
def mobilenet() -> MobileNet:
    network: MobileNet = seeded(MobileNet())
    return network


@pytest.mark.parametrize("folded", [True, False], ids=["folded", "batch norms"])
def test_resnet50_as_mlperf_publishes_it(tmp_path: Path, folded: bool) -> None:
    network = seeded(ResNet50(1001, same_pooling=True))
    path = tmp_path / "resnet50_v1.onnx"
    write_resnet50(path, network, folded)
    model = classifier("resnet50").fitting(path)
    assert (model.name, model.classes, model.label_offset) == ("resnet50-tf", 1001, -1)  # type: ignore[attr-defined]
    assert model.preprocessing != classifier("resnet50").preprocessing
    assert model is classifier("resnet50-tf")
    assert_same(network, path, model)


def test_resnet50_as_pytorch_exports_it(tmp_path: Path) -> None:
    network = seeded(ResNet50())
    path = tmp_path / "exported.onnx"
    write_resnet50(path, network, tf=False)
    model = classifier("resnet50").fitting(path)
    assert model is classifier("resnet50")
    assert_same(network, path, model)


def test_a_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchanged, "SETTLED_NS", 0)
    path = tmp_path / "exported.onnx"
    write_resnet50(path, seeded(ResNet50()), tf=False)
    parsed: list[str] = []
    real = onnx.load

    def load(file: str, **options: Any) -> Any:
        parsed.append(file)
        return real(file, **options)

    monkeypatch.setattr(onnx, "load", load)
    classifier("resnet50").fitting(path).load_weights(path)
    assert parsed == [str(path)]
    # Nothing of it stays in memory.
    classifier("resnet50").fitting(path)
    assert parsed == [str(path)] * 2


@pytest.mark.parametrize("folded", [True, False], ids=["folded", "batch norms"])
def test_mobilenet_as_mlperf_publishes_it(
    tmp_path: Path, mobilenet: MobileNet, folded: bool
) -> None:
    path = tmp_path / "mobilenet_v1_1.0_224.onnx"
    write_mobilenet(path, mobilenet, folded)
    model = classifier("mobilenet").fitting(path)
    assert_same(mobilenet, path, model)


def test_resnet50_v1_is_told_by_its_strides(tmp_path: Path) -> None:
    path = tmp_path / "v1.onnx"
    write_resnet50(path, ResNet50(1001, same_pooling=True), v1=True)
    assert "has stride (1, 1) and 1 groups, layer4.0.conv2 (2, 2) and 1" in refused(
        "resnet50", path
    )


def test_another_network_is_told_by_its_shapes(tmp_path: Path, mobilenet: MobileNet) -> None:
    path = tmp_path / "mobilenet.onnx"
    write_mobilenet(path, mobilenet)
    message = refused("resnet50", path)
    assert "does not fit ResNet50 (wrong shape:" in message
    assert "[1001, 1024] for fc [1001, 2048]" in message


def test_other_activations_are_found_by_computing(tmp_path: Path, mobilenet: MobileNet) -> None:
    path = tmp_path / "relu3.onnx"
    write_mobilenet(path, mobilenet, ceiling=3)
    assert "does not compute what it computes" in refused("mobilenet", path)


def edited(path: Path, mobilenet: MobileNet, change: Any) -> Path:
    write_mobilenet(path, mobilenet)
    proto = onnx.load(str(path))
    change(proto)
    onnx.save(proto, str(path))
    return path


def test_tensors_in_other_files_are_refused(tmp_path: Path, mobilenet: MobileNet) -> None:
    def outside(proto: Any) -> None:
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")

    path = tmp_path / "external.onnx"
    write_mobilenet(path, mobilenet)
    proto = onnx.load(str(path))
    outside(proto)
    path.write_bytes(proto.SerializeToString())
    assert "stands in another file" in refused("mobilenet", path)


def test_operators_of_others_are_refused(tmp_path: Path, mobilenet: MobileNet) -> None:
    def custom(proto: Any) -> None:
        proto.graph.node[3].domain = "com.example"

    path = edited(tmp_path / "custom.onnx", mobilenet, custom)
    assert "operator com.example." in refused("mobilenet", path)


def test_quantised_files_are_refused(tmp_path: Path, mobilenet: MobileNet) -> None:
    def quantised(proto: Any) -> None:
        next(n for n in proto.graph.node if n.op_type == "ReduceMean").op_type = "QLinearConv"

    path = edited(tmp_path / "int8.onnx", mobilenet, quantised)
    assert "operator QLinearConv" in refused("mobilenet", path)


@pytest.mark.parametrize("content", [b"", b"\x08\x06", b"\x08\x06garbage", b"\x08\x07\xff" * 20])
def test_broken_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    refused("resnet50", path)


def test_a_file_cut_short(tmp_path: Path, mobilenet: MobileNet) -> None:
    path = tmp_path / "short.onnx"
    write_mobilenet(path, mobilenet)
    path.write_bytes(path.read_bytes()[:1_000_000])
    assert "not a whole ONNX file" in refused("mobilenet", path)


def test_without_onnx_the_extra_is_named(tmp_path: Path) -> None:
    path = tmp_path / "some.onnx"
    path.write_bytes(b"\x08\x06")
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "import models; from pathlib import Path\n"
        "try: models.get('resnet50').fitting(Path(sys.argv[1]))\n"
        "except models.WeightsError as error: print(error)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("pip install 'loadrun[onnx]'")
