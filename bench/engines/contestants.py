"""The engines that are compared, each behind one function that infers a batch.

Every contestant gets the same fp32 network and the same calibration samples and makes its own int8
model of them, with its makers' tools at their recommended settings.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import models
from models.model import Model
from netrun.build import ensure_artifact
from netrun.config import NetrunConfig
from netrun.engines.create import create

Infer = Callable[[int], None]  # infer the i-th batch


@dataclass(frozen=True)
class Setting:
    """What all contestants share. `samples` and `calibration` are uint8 (n, H, W, C)."""

    model: Model
    weights: Path
    samples: NDArray[np.uint8]
    calibration: NDArray[np.uint8]
    batch: int
    threads: int
    cache: Path

    def positions(self, i: int) -> list[int]:
        """Arena positions of the i-th batch: scattered, as LoadGen's are."""
        return [(i * self.batch + k) * 7919 % len(self.samples) for k in range(self.batch)]

    def batches(self, count: int) -> Iterator[NDArray[np.float32]]:
        """Normalised float32 NCHW batches."""
        for i in range(count):
            yield self.model.sample.normalise(self.samples[self.positions(i)])


def ours(setting: Setting, engine: str, precision: str) -> Infer:
    """One of loadrun's engines, with postprocessing, reading samples from an arena."""
    artifact = ensure_artifact(
        setting.model.name,
        setting.weights,
        setting.calibration,
        precision,
        engine,
        setting.batch,
        setting.threads,
        setting.cache,
        progress=lambda done, total: None,
    )
    made = create(
        NetrunConfig(
            run_id="bench",
            instance=0,
            model=setting.model.name,
            engine=engine,
            precision=precision,
            artifact=str(artifact),
            batch_size=setting.batch,
            threads=setting.threads,
            report="",
        )
    )
    made.prepare()

    def infer(i: int) -> None:
        made.infer(setting.samples, setting.positions(i))

    return infer


def openvino(setting: Setting, hint: str) -> Infer:
    """OpenVINO with NNCF's post-training quantisation; inputs are prepared float32 batches."""
    import nncf
    import openvino as ov

    path = setting.cache / f"openvino-{setting.model.name}.xml"
    if not path.exists():
        network = setting.model.load_weights(setting.weights)
        example = torch.zeros(1, 3, setting.model.sample.height, setting.model.sample.width)
        converted = ov.convert_model(network, example_input=example)
        calibration = [setting.model.sample.normalise(s[None]) for s in setting.calibration]
        quantised = nncf.quantize(converted, nncf.Dataset(calibration), subset_size=200)
        ov.save_model(quantised, path)
    loaded = ov.Core().read_model(path)
    height, width = setting.model.sample.height, setting.model.sample.width
    loaded.reshape([setting.batch, 3, height, width])
    compiled = ov.Core().compile_model(
        loaded,
        "CPU",
        {
            "PERFORMANCE_HINT": hint,
            "INFERENCE_NUM_THREADS": setting.threads,
            "NUM_STREAMS": 1,
        },
    )
    request = compiled.create_infer_request()
    inputs = [ov.Tensor(batch) for batch in setting.batches(8)]

    def infer(i: int) -> None:
        request.infer([inputs[i % len(inputs)]])

    return infer


def onnxruntime(setting: Setting) -> Infer:
    """ONNX Runtime with its static quantisation (QDQ, per channel); float32 inputs."""
    import onnxruntime as ort
    from onnxruntime import quantization as oq

    path = setting.cache / f"onnxruntime-{setting.model.name}.onnx"
    if not path.exists():
        _quantise_onnx(setting, path, oq)
    options = ort.SessionOptions()
    options.intra_op_num_threads = setting.threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    inputs = list(setting.batches(8))

    def infer(i: int) -> None:
        session.run(None, {name: inputs[i % len(inputs)]})

    return infer


def _quantise_onnx(setting: Setting, path: Path, oq: Any) -> None:
    network = setting.model.load_weights(setting.weights)
    example = torch.zeros(2, 3, setting.model.sample.height, setting.model.sample.width)
    with tempfile.TemporaryDirectory() as folder:
        exported, prepared = Path(folder) / "a.onnx", Path(folder) / "b.onnx"
        torch.onnx.export(
            network,
            (example,),
            str(exported),
            input_names=["input"],
            dynamic_axes={"input": {0: "n"}},
            dynamo=False,
        )
        oq.shape_inference.quant_pre_process(str(exported), str(prepared))

        class Reader(oq.CalibrationDataReader):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                self._left = iter(setting.calibration)

            def get_next(self) -> dict[str, NDArray[np.float32]] | None:
                sample = next(self._left, None)
                if sample is None:
                    return None
                return {"input": setting.model.sample.normalise(sample[None])}

        oq.quantize_static(
            str(prepared),
            str(path),
            Reader(),
            quant_format=oq.QuantFormat.QDQ,
            per_channel=True,
            activation_type=oq.QuantType.QUInt8,
            weight_type=oq.QuantType.QInt8,
        )


CONTESTANTS: dict[str, Callable[[Setting], Infer]] = {
    "loadrun onednn int8": lambda setting: ours(setting, "onednn", "int8"),
    "loadrun pytorch int8": lambda setting: ours(setting, "pytorch", "int8"),
    "loadrun pytorch bf16": lambda setting: ours(setting, "pytorch", "bf16"),
    "loadrun pytorch fp32": lambda setting: ours(setting, "pytorch", "fp32"),
    "OpenVINO int8 latency": lambda setting: openvino(setting, "LATENCY"),
    "OpenVINO int8 throughput": lambda setting: openvino(setting, "THROUGHPUT"),
    "ONNX Runtime int8": onnxruntime,
}


def make(name: str, model: str, options: dict[str, Any]) -> Infer:
    """The contestant `name`, ready to infer."""
    chosen = models.get(model)
    samples = np.load(options["samples"], mmap_mode="r")
    return CONTESTANTS[name](
        Setting(
            chosen,
            Path(options["weights"]),
            np.ascontiguousarray(samples),
            np.load(options["calibration"]),
            options["batch"],
            options["threads"],
            Path(options["cache"]),
        )
    )
