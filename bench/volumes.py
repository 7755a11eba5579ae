"""What 3D U-Net's int8 costs and keeps: one window by layers, DICE on real volumes.

    python -m bench.volumes                 a window of the full-size network, one core
    python -m bench.volumes --peer          the same window on OpenVINO, int8 by NNCF (minutes)
    python -m bench.volumes --data DATA     DICE in fp32, bf16 and int8 (DATA: see benchmarks.md)

Times are the processor's, not the clock's: what others do on the machine changes them little.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.quantize.volumes import quantise_volumes
from models.task import Array, DataSet, Sources, Task
from models.volume_program import VolumeProgram
from models.volumes.task import NETWORK, UNET_KITS19
from netrun.engines.volumes.network import VolumeNetwork

SIDE = 128
REPEATS = 3
Run = Callable[..., Mapping[str, Array]]


@dataclass
class One:
    """A batch of one volume."""

    volume: Array

    def views(self, field: str) -> list[Array]:
        """The volume."""
        return [self.volume]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--peer", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.data is not None:
        accuracy(options.data)
    elif options.peer:
        peer()
    else:
        speed()


def speed() -> None:
    """A window of the full-size network with seeded weights, calibrated on itself."""
    network = UNET_KITS19.graph(NETWORK, None)
    window = UNET_KITS19.data(Sources()).read(0)["image"][:, :SIDE, :SIDE, :SIDE]
    program = quantise(network, [{"image": window}])
    quantised = VolumeNetwork(program, threads=1)
    quantised(window)
    seconds = least(lambda: quantised(window))
    macs = program.macs((SIDE, SIDE, SIDE))
    total = sum(macs.values())
    print(f"window {seconds * 1e3:.0f} ms, {total / seconds / 1e12:.3f} TMAC/s")
    (described,) = quantised.describe()["windows"].values()
    print(f"memory beside the weights {described['megabytes']} MB")
    once: dict[str, Array] = {}

    def known(image: Sequence[Array]) -> Mapping[str, Array]:
        return {"logits": once["logits"]}

    once["logits"] = quantised(window)[None]
    volume = UNET_KITS19.data(Sources()).read(0)["image"]
    rest = least(lambda: UNET_KITS19.infer({NETWORK: known}, One(volume)))  # type: ignore[arg-type]
    share = rest / (rest + 8 * seconds)
    print(f"sums and argmax of a volume of 8 windows {rest * 1e3:.0f} ms, {share:.1%} of its time")
    for name, count in macs.items():
        print(f"  {name:32} {count / 1e9:7.2f} GMAC  {described['kernels'][name]}")


def peer() -> None:
    """OpenVINO, which runs in bf16 what NNCF leaves in float32."""
    import nncf
    import openvino

    network = UNET_KITS19.graph(NETWORK, None)
    window = UNET_KITS19.data(Sources()).read(0)["image"][None, :, :SIDE, :SIDE, :SIDE]
    small = torch.zeros(1, 1, SIDE // 2, SIDE // 2, SIDE // 2)
    graph = openvino.convert_model(network, example_input=small, input=[window.shape])
    graph = nncf.quantize(
        graph, nncf.Dataset([window]), subset_size=1, preset=nncf.QuantizationPreset.MIXED
    )
    hints = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "bf16"}
    compiled = openvino.Core().compile_model(graph, "CPU", hints)
    compiled(window)
    print(f"OpenVINO {openvino.__version__}: window {least(lambda: compiled(window)) * 1e3:.0f} ms")


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
        print(f"{name}: mean DICE {score:.5f}, {score / exact:.5f} of fp32's")


def scored(task: Task, held: DataSet, run: Run) -> float:
    """Mean DICE over a data set."""
    answers = {}
    for index in range(len(held)):
        (answer,) = task.infer({NETWORK: run}, One(held.read(index)["image"]))  # type: ignore[arg-type]
        answers[index] = bytes(np.ascontiguousarray(answer))
    return task.score(answers, held).value


def quantise(network: Any, windows: Sequence[Mapping[str, Array]]) -> VolumeProgram:
    """The int8 program."""
    return quantise_volumes(network, windows, lambda done, total: None)


def least(work: Callable[[], object]) -> float:
    """The least processor time of some runs, in seconds."""
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


if __name__ == "__main__":
    main()
