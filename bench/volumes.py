"""What 3D U-Net's int8 costs and keeps: one window by layers, DICE on real volumes.

    python -m bench.volumes                 a window of the full-size network, one core
    python -m bench.volumes --peer          the same window on OpenVINO, too, in turns; int8 by NNCF
    python -m bench.volumes --data DATA     DICE in fp32, bf16 and int8 (DATA: see benchmarks.md)

What is quantised is kept in --folder, so that a second call only measures. Times are the
processor's, not the clock's: what others do on the machine changes them little.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models import volume_program
from models.batch import Samples
from models.quantize.volumes import quantise_volumes
from models.task import Array, DataSet, Sources, Task
from models.volume_program import VolumeProgram
from models.volumes.task import NETWORK, UNET_KITS19
from netrun.engines.volumes.network import VolumeNetwork

SIDE = 128
REPEATS = 3
Run = Callable[..., Mapping[str, Array]]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("bench-volumes"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.data is not None:
        accuracy(options.data)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    ours = full_size(options.folder / "program")
    window = UNET_KITS19.data(Sources()).read(0)["image"][:, :SIDE, :SIDE, :SIDE]
    runs: dict[str, Callable[[], object]] = {"ours": lambda: ours(window)}
    if options.peer:
        runs |= peers(options.folder / "openvino.xml", window)
    seconds = least(runs)
    for name, took in seconds.items():
        print(f"{name}: window {took * 1e3:.0f} ms, {took / seconds['ours']:.2f} x ours")
    describe(ours, seconds["ours"], window)


def full_size(path: Path) -> VolumeNetwork:
    """The full-size network with seeded weights, calibrated on a window of its own."""
    if not path.exists():
        network = UNET_KITS19.graph(NETWORK, None)
        window = UNET_KITS19.data(Sources()).read(0)["image"][:, :SIDE, :SIDE, :SIDE]
        quantise(network, [{"image": window}]).save(path, {})
    return VolumeNetwork(volume_program.load(path)[0], threads=1)


def describe(ours: VolumeNetwork, seconds: float, window: Array) -> None:
    """Print work, memory and layers, and what sums and argmax take of a volume's time."""
    macs = ours.program.macs((SIDE, SIDE, SIDE))
    print(f"{sum(macs.values()) / seconds / 1e12:.3f} TMAC/s")
    (described,) = ours.describe()["windows"].values()
    print(f"memory beside the weights {described['megabytes']} MB")
    logits = ours(window)[None]

    def known(image: Sequence[Array]) -> Mapping[str, Array]:
        return {"logits": logits}

    volume = UNET_KITS19.data(Sources()).read(0)["image"]
    batch: Any = Samples([{"image": volume}])
    (rest,) = least({"sums": lambda: UNET_KITS19.infer({NETWORK: known}, batch)}).values()
    share = rest / (rest + 8 * seconds)
    print(f"sums and argmax of a volume of 8 windows {rest * 1e3:.0f} ms, {share:.1%} of its time")
    for step, ns in zip(ours.steps(window), ours.profile(window), strict=True):
        print(f"  {step.name:40} {step.macs / 1e9:7.2f} GMAC {ns / 1e6:6.1f} ms  {step.kernel}")


def peers(path: Path, window: Array) -> dict[str, Callable[[], object]]:
    """OpenVINO in int8, where it runs in bf16 what NNCF leaves in float32, and all in bf16."""
    import nncf
    import openvino

    given, plain = window[None], path.with_name("openvino-float.xml")
    if not path.exists():
        network = UNET_KITS19.graph(NETWORK, None)
        small = torch.zeros(1, 1, SIDE // 2, SIDE // 2, SIDE // 2)
        graph = openvino.convert_model(network, example_input=small, input=[given.shape])
        openvino.save_model(graph, plain, compress_to_fp16=False)
        graph = nncf.quantize(
            graph, nncf.Dataset([given]), subset_size=1, preset=nncf.QuantizationPreset.MIXED
        )
        openvino.save_model(graph, path, compress_to_fp16=False)
    hints = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "bf16"}
    core = openvino.Core()
    int8, bf16 = (core.compile_model(each, "CPU", hints) for each in (path, plain))
    version = f"OpenVINO {openvino.__version__.partition('-')[0]}"
    return {f"{version} int8": lambda: int8(given), f"{version} bf16": lambda: bf16(given)}


def accuracy(data: Path) -> None:
    """DICE of the small trained network on its held-in volumes."""
    weights = data / "weights" / "small" / "unet3d_small.pt"
    served = Sources(data=data / "volumes" / "hippocampus_dev20", weights=weights)
    others = Sources(data=data / "volumes" / "hippocampus_train90", weights=weights)
    task = UNET_KITS19.fitting(weights)
    network = task.graph(NETWORK, weights)
    calibration = task.calibration(others)
    program = quantise(network, [calibration.read(i) for i in range(len(calibration))])
    quantised = VolumeNetwork(program, threads=1)

    def plain(image: Sequence[Array]) -> Mapping[str, Array]:
        with torch.inference_mode():
            return {"logits": network(torch.from_numpy(np.stack(image))).float().numpy()}  # type: ignore[operator]

    def low(image: Sequence[Array]) -> Mapping[str, Array]:
        with torch.autocast("cpu", torch.bfloat16):
            return plain(image)

    def int8(image: Sequence[Array]) -> Mapping[str, Array]:
        return {"logits": quantised(image[0])[None]}

    held = task.data(served)
    exact = 0.0
    for name, run in (("fp32", plain), ("bf16", low), ("int8", int8)):
        score = scored(task, held, run)
        exact = exact or score
        print(f"{name}: mean DICE {score / 100:.5f}, {score / exact:.5f} of fp32's")


def scored(task: Task, held: DataSet, run: Run) -> float:
    """Mean DICE over a data set."""
    answers = {}
    for index in range(len(held)):
        (answer,) = task.infer({NETWORK: run}, Samples([held.read(index)]))  # type: ignore[arg-type]
        answers[index] = bytes(np.ascontiguousarray(answer))
    return task.score(answers, held).value


def quantise(network: Any, windows: Sequence[Mapping[str, Array]]) -> VolumeProgram:
    """The int8 program."""
    return quantise_volumes(network, windows, lambda done, total: None)


def least(runs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The least processor time of each, in seconds; they take turns, and the first warms up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(REPEATS + 1):
        for name, run in runs.items():
            began = time.process_time()
            run()
            if turn:
                times[name].append(time.process_time() - began)
    return {name: min(taken) for name, taken in times.items()}


if __name__ == "__main__":
    main()
