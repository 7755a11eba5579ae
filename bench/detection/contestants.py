"""What takes part: each makes what it executes in a folder, once, and runs batches of one image.

All have the seeded network of the embedded default and are calibrated on the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bench.turns import latency_settings
from models.detection.data import Judged
from models.detection.synthetic import seeded_weights, synthetic_calibration
from models.detection.task import DetectionTask
from models.samples import Prepared, prepare
from models.task import Array, Sources

Network = Callable[[Array], Mapping[str, Array]]
"""From a sample, uint8 [height, width, 3], to the part's outputs for it."""
Make = Callable[[DetectionTask, Path, int, Prepared], Network]


class ChannelsFirst(nn.Module):
    """A network over normalised images whose maps stay as convolutions make them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps [n, channels, height, width]."""
        return tuple(output.permute(0, 3, 1, 2) for output in self.network(images))


def prepared(task: DetectionTask, folder: Path) -> Prepared:
    """The images that int8 is calibrated on, and that are timed."""
    data: Judged = synthetic_calibration(task, Sources(cache=folder))
    return prepare(data, folder)  # type: ignore[arg-type]


def loadrun(task: DetectionTask, folder: Path, threads: int, samples: Prepared) -> Network:
    """The onednn engine, int8, for batches of one image."""
    from netrun.engines import registry
    from netrun.engines.engine import EngineSpec
    from netrun.engines.order import Order

    order = Order(
        *(task, seeded_weights(task, folder), "int8", 1, threads, folder), calibration=samples
    )
    artifact = registry.build("onednn", order)
    assert artifact is not None
    engine = registry.load("onednn", EngineSpec(task, "int8", artifact, 1, threads))
    run = engine.part("network")  # type: ignore[union-attr]
    return lambda sample: {name: out[0] for name, out in run(image=[sample]).items()}


def openvino(task: DetectionTask, folder: Path, threads: int, samples: Prepared) -> Network:
    """OpenVINO's int8 by NNCF: a fixed shape, one stream, float32 images as its tools take them."""
    import openvino as ov

    path = folder / f"{task.name}-openvino-int8.xml"
    if not path.is_file():
        import nncf

        shape = [1, 3, task.sample.height, task.sample.width]
        model = ov.convert_model(_channels_first(task, folder), example_input=torch.zeros(shape))
        model.reshape(shape)
        images = [_normalised(task, sample["image"]) for sample in samples]
        data = nncf.Dataset(images)
        ov.save_model(nncf.quantize(model, data, subset_size=len(images)), path)
    request = (
        ov.Core().compile_model(str(path), "CPU", latency_settings(threads)).create_infer_request()
    )

    def run(sample: Array) -> Mapping[str, Array]:
        request.infer([sample])
        return {}

    return run


def onnxruntime(task: DetectionTask, folder: Path, threads: int, samples: Prepared) -> Network:
    """ONNX Runtime in fp32, as MLPerf's reference runs it."""
    import onnxruntime as ort

    path = folder / f"{task.name}-fp32.onnx"
    if not path.is_file():
        example = torch.zeros(1, 3, task.sample.height, task.sample.width)
        torch.onnx.export(
            *(_channels_first(task, folder), (example,), str(path)),
            input_names=["images"],
            opset_version=17,
            dynamo=False,
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])

    def run(sample: Array) -> Mapping[str, Array]:
        session.run(None, {"images": sample})
        return {}

    return run


def _channels_first(task: DetectionTask, folder: Path) -> nn.Module:
    return ChannelsFirst(task.graph("network", seeded_weights(task, folder)).network).eval()


def _normalised(task: DetectionTask, sample: Array) -> Array:
    return task.sample.normalise(np.asarray(sample)[None])


CONTESTANTS: Mapping[str, Make] = {
    "loadrun int8": loadrun,
    "OpenVINO int8": openvino,
    "ONNX Runtime fp32": onnxruntime,
}
PIXELS = ("loadrun int8",)
"""Those that take samples as they are; others are given normalised images, untimed."""
