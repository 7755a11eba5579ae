"""``python -m bench.rnnt --folder DIR``: RNN-T by turns, LibriSpeech's lengths, one core.

All contestants have the seeded network of the embedded default and take the same sounds, sorted by
length, in batches of every size of `--batches`: first from wave to letters, then the encoder alone.
PyTorch, ONNX Runtime and OpenVINO fill utterances up to the longest of a batch. A figure is the
least time of each batch in all rounds, added up. Peers take part where they are installed
(``pip install -e .[onnxruntime,openvino]``); what is built is kept in `--folder`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.host import host

Array = Any
Encode = Callable[[Array, Array], Array]
RATE = 16_000


def main() -> None:
    """Run the comparison and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batches", default="16,48")
    parser.add_argument("--only", default="", help="contestants, by a part of their names")
    parser.add_argument("--build", action="store_true", help="build what is missing, and end")
    options = parser.parse_args()
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    # Before anything loads an OpenMP.
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    weights = built(options.folder)
    contestants = [
        (name, kind, make)
        for name, kind, make, needs in CONTESTANTS
        if options.only in name and all(importlib.util.find_spec(need) for need in needs)
    ]
    ready = [(name, kind, make(options.folder, weights)) for name, kind, make in contestants]
    if options.build:
        return
    waves = sounds(options.samples)
    features = features_of(waves)
    seconds = sum(map(len, waves)) / RATE
    print(f"{host()['processor']}; 1 core; {len(waves)} sounds, {seconds:.0f} s")
    for size in map(int, options.batches.split(",")):
        least: dict[tuple[str, int], float] = {}
        for _ in range(options.rounds):
            for start in range(0, len(waves), size):
                some = slice(start, start + size)
                for name, kind, call in ready:
                    given = waves[some] if kind == "whole" else features[some]
                    before = time.perf_counter()
                    call(given)
                    took = time.perf_counter() - before
                    least[name, start] = min(took, least.get((name, start), took))
        print(f"batch size {size}: samples/s, seconds of sound a second")
        for name, _, _ in ready:
            total = sum(took for (other, _), took in least.items() if other == name)
            print(f"  {name:28} {len(waves) / total:7.2f} {seconds / total:8.1f}")
        sys.stdout.flush()


def sounds(count: int) -> list[Array]:
    """Seeded waves, the longest first."""
    from dataclasses import replace

    from models.librispeech import synthetic

    data = replace(synthetic.served(None), count=count)
    waves = [data.read(index)["wave"] for index in range(count)]
    return sorted(waves, key=len, reverse=True)


def features_of(waves: Sequence[Array]) -> list[Array]:
    """Features of each wave."""
    from models.librispeech.features import Frames, extract

    return [extract(wave, Frames(RATE)) for wave in waves]


def built(folder: Path) -> Path:
    """The weights of the embedded default."""
    from models.librispeech import synthetic

    synthetic.ensure(folder, lambda done, total: None)
    return synthetic.weights_file(folder)


def padded(features: Sequence[Array]) -> tuple[Array, Array]:
    """Features filled up to the longest, and their lengths."""
    import numpy as np

    lengths = np.array([len(one) for one in features], np.int64)
    filled = np.zeros((len(features), lengths.max(), features[0].shape[1]), np.float32)
    for row, one in zip(filled, features, strict=True):
        row[: len(one)] = one
    return filled, lengths


def _infer(parts: Mapping[str, Any], waves: Sequence[Array]) -> None:
    import numpy as np

    import models
    from models.batch import Samples

    samples = [{"wave": wave, "rate": np.array(RATE, np.int32)} for wave in waves]
    models.get("rnnt").infer(parts, Samples(samples))


def _int8(folder: Path, weights: Path) -> Any:
    import models
    from models.librispeech import synthetic
    from netrun.engines import registry
    from netrun.engines.engine import EngineSpec
    from netrun.engines.order import Order

    task, data = models.get("rnnt"), synthetic.calibration()
    samples = [data.read(index) for index in range(len(data))]
    order = Order(task, weights, "int8", 48, 1, folder, calibration=samples)
    artifact = registry.build("onednn", order)
    assert artifact is not None
    return registry.load("onednn", EngineSpec(task, "int8", artifact, 48, 1))


def int8(folder: Path, weights: Path) -> Callable[[Sequence[Array]], None]:
    """The engine onednn, from wave to letters."""
    engine = _int8(folder, weights)
    parts = {name: engine.part(name) for name in ("encoder", "prediction", "joint")}
    return lambda waves: _infer(parts, waves)


def int8_encoder(folder: Path, weights: Path) -> Callable[[Sequence[Array]], None]:
    """Its encoder."""
    encoder = _int8(folder, weights).part("encoder")

    def run(features: Sequence[Array]) -> None:
        filled, lengths = padded(features)
        encoder(features=filled, length=lengths)

    return run


def _module(weights: Path, part: str) -> Any:
    from models.librispeech import weights as files

    state = files.read(weights)
    return files.part(part, files.sizes_of(weights, state), state)


def eager(folder: Path, weights: Path) -> Callable[[Sequence[Array]], None]:
    """PyTorch in float32, utterances filled up, from wave to letters."""
    import torch

    modules = {name: _module(weights, name) for name in ("encoder", "prediction", "joint")}
    calls = {**modules, "encoder": modules["encoder"].padded}
    names = {
        "encoder": ("encoded",),
        "prediction": ("predicted", "hidden", "cell"),
        "joint": ("label",),
    }

    def part(name: str) -> Any:
        def run(**inputs: Array) -> dict[str, Array]:
            with torch.inference_mode():
                found = calls[name](*map(torch.from_numpy, inputs.values()))
            outputs = found if isinstance(found, tuple) else (found,)
            return dict(zip(names[name], (one.numpy() for one in outputs), strict=True))

        return run

    parts = {name: part(name) for name in names}
    return lambda waves: _infer(parts, waves)


def eager_encoder(folder: Path, weights: Path, bf16: bool = False) -> Any:
    """The encoder in PyTorch, utterances filled up."""
    import torch

    encoder = _module(weights, "encoder")

    def run(features: Sequence[Array]) -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            encoder.padded(*map(torch.from_numpy, padded(features)))

    return run


def eager_encoder_bf16(folder: Path, weights: Path) -> Any:
    """The same in bfloat16."""
    return eager_encoder(folder, weights, bf16=True)


def exported(folder: Path, weights: Path) -> Path:
    """The encoder as ONNX, for any number of utterances and frames, of an even number of frames."""
    import torch

    file = folder / "encoder.onnx"
    if not file.is_file():
        encoder = _module(weights, "encoder")

        class Even(torch.nn.Module):
            """`Encoder.padded`, of one shape of graph."""

            def forward(self, features: Any, length: Any) -> Any:
                """Return [n, T / 2, J]."""
                found, _ = encoder.pre_rnn.lstm(features.transpose(0, 1))
                steps = torch.arange(features.shape[1])[:, None]
                found = found * (steps < length)[:, :, None].to(found.dtype)
                n, wide = features.shape[0], found.shape[2]
                pairs = found.view(-1, 2, n, wide).transpose(1, 2).reshape(-1, n, 2 * wide)
                found, _ = encoder.post_rnn.lstm(pairs)
                return encoder.joint_side(found).transpose(0, 1)

        axes = {"features": {0: "n", 1: "frames"}, "length": {0: "n"}}
        with torch.inference_mode():
            torch.onnx.export(
                Even(),
                (torch.zeros(2, 6, 240), torch.tensor([6, 6])),
                str(file),
                input_names=["features", "length"],
                output_names=["encoded"],
                dynamic_axes=axes,
                dynamo=False,
            )
    return file


def even(features: Sequence[Array]) -> dict[str, Array]:
    """Features filled up to an even number of frames."""
    import numpy as np

    filled, lengths = padded(features)
    if filled.shape[1] % 2:
        filled = np.pad(filled, ((0, 0), (0, 1), (0, 0)))
    return {"features": filled, "length": lengths}


def onnxruntime(folder: Path, weights: Path) -> Any:
    """The encoder in ONNX Runtime, whose static int8 knows no LSTM."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    session = ort.InferenceSession(str(exported(folder, weights)), options, providers=providers)
    return lambda features: session.run(None, even(features))


def openvino(folder: Path, weights: Path) -> Any:
    """The encoder in OpenVINO, in the precision that it chooses (bfloat16 with AMX)."""
    import openvino as ov

    core = ov.Core()
    config = {"INFERENCE_NUM_THREADS": "1", "NUM_STREAMS": "1"}
    model = core.compile_model(core.read_model(exported(folder, weights)), "CPU", config)
    return lambda features: model(even(features))


ORT = ("onnxruntime", "onnx")
CONTESTANTS: tuple[tuple[str, str, Callable[[Path, Path], Any], tuple[str, ...]], ...] = (
    ("loadrun int8", "whole", int8, ()),
    ("PyTorch fp32", "whole", eager, ()),
    ("encoder: loadrun int8", "encoder", int8_encoder, ()),
    ("encoder: PyTorch bf16", "encoder", eager_encoder_bf16, ()),
    ("encoder: ONNX Runtime fp32", "encoder", onnxruntime, ORT),
    ("encoder: OpenVINO", "encoder", openvino, ("openvino", "onnx")),
)


if __name__ == "__main__":
    main()
