"""One contestant in a process of its own: batches of lengths in, seconds out, one a line.

``python -m bench.bert.worker NAME FOLDER THREADS``; FOLDER keeps what is built once.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from bench.bert.padded import INPUTS, Padded, padded
from bench.turns import READY, latency_settings
from models.squad.sizes import LARGE
from models.squad.stream import stream
from models.squad.synthetic import QUANTILES, SyntheticData, seeded_network

Infer = Callable[[Sequence[int]], None]
CALIBRATED = 12
"""Sequences that every int8 model is calibrated on."""


def loadrun(folder: Path, threads: int) -> Infer:
    """The encoder of netrun.engines.transformer."""
    from models.quantize.encoder import quantise
    from netrun.engines.transformer import artifact
    from netrun.engines.transformer.engine import EncoderRun
    from netrun.engines.transformer.executor import Shape

    path = folder / "loadrun.encoder"
    if not path.is_file():
        data = SyntheticData(seed=1, count=CALIBRATED)
        batches = [
            {n: torch.from_numpy(v) for n, v in stream([w.ids], [w.second]).items()}
            for w in data.windows
        ]
        shape = Shape(LARGE.hidden, LARGE.layers, LARGE.heads, LARGE.inner, LARGE.eps)
        artifact.write(path, quantise(seeded_network(), batches, {}), shape, {})
    run = EncoderRun(path, threads)
    print("encoder:", run.describe()["encoder"], file=sys.stderr, flush=True)
    random = np.random.default_rng(0)

    def infer(lengths: Sequence[int]) -> None:
        ids = [random.integers(1000, 30000, length).astype(np.int32) for length in lengths]
        run(**stream(ids, [14] * len(ids)))

    return infer


def pytorch(folder: Path, threads: int, low: bool) -> Infer:
    """The network in eager PyTorch, without padding, in bf16 or fp32."""
    torch.set_num_threads(threads)
    network = seeded_network()
    random = np.random.default_rng(0)

    def infer(lengths: Sequence[int]) -> None:
        ids = [random.integers(1000, 30000, length).astype(np.int32) for length in lengths]
        given = {n: torch.from_numpy(v) for n, v in stream(ids, [14] * len(ids)).items()}
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=low):
            network(**given)

    return infer


def openvino(folder: Path, threads: int) -> Infer:
    """OpenVINO's int8 by NNCF, dynamic shapes, one stream."""
    import openvino as ov

    path = folder / "openvino.xml"
    if not path.is_file():
        import nncf

        example = {n: torch.from_numpy(v) for n, v in padded([64, 64]).items()}
        with torch.no_grad():
            any_shape = [ov.PartialShape([-1, -1])] * len(INPUTS)
            model = ov.convert_model(
                Padded(seeded_network()), example_input=example, input=any_shape
            )
        samples = nncf.Dataset([padded([length], length) for length in spread(CALIBRATED)])
        kind = nncf.ModelType.TRANSFORMER
        ov.save_model(nncf.quantize(model, samples, model_type=kind), path)
    request = (
        ov.Core().compile_model(str(path), "CPU", latency_settings(threads)).create_infer_request()
    )

    def infer(lengths: Sequence[int]) -> None:
        request.infer([padded(lengths)[name] for name in INPUTS])

    return infer


def onnxruntime(folder: Path, threads: int) -> Infer:
    """ONNX Runtime's int8 by its dynamic quantisation, which it recommends for transformers."""
    import onnxruntime as ort

    path = folder / "onnxruntime.onnx"
    if not path.is_file():
        from onnxruntime.quantization import quantize_dynamic

        plain = folder / "fp32.onnx"
        example = tuple(torch.from_numpy(v) for v in padded([64, 64]).values())
        axes = {name: {0: "sequences", 1: "tokens"} for name in (*INPUTS, "logits")}
        torch.onnx.export(
            *(Padded(seeded_network()), example, str(plain)),
            input_names=list(INPUTS),
            output_names=["logits"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
        quantize_dynamic(plain, path, per_channel=True)
        plain.unlink()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])

    def infer(lengths: Sequence[int]) -> None:
        session.run(None, padded(lengths))

    return infer


CONTESTANTS: dict[str, Callable[[Path, int], Infer]] = {
    "loadrun int8": loadrun,
    "loadrun bf16": lambda folder, threads: pytorch(folder, threads, low=True),
    "loadrun fp32": lambda folder, threads: pytorch(folder, threads, low=False),
    "OpenVINO int8": openvino,
    "ONNX Runtime int8": onnxruntime,
}


def spread(count: int) -> list[int]:
    """Lengths in equal shares of SQuAD's distribution."""
    places = (np.arange(count) + 0.5) / count * (len(QUANTILES) - 1)
    lengths: list[int] = np.interp(places, range(len(QUANTILES)), QUANTILES).astype(int).tolist()
    return lengths


def main() -> None:
    """Serve batches until there are no more."""
    name, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    infer = CONTESTANTS[name](folder, threads)
    infer([128])
    print(READY, flush=True)
    for line in sys.stdin:
        lengths = json.loads(line)
        wall, busy = time.perf_counter(), time.process_time()
        infer(lengths)
        print(time.perf_counter() - wall, time.process_time() - busy, flush=True)


if __name__ == "__main__":
    main()
