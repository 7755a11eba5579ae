"""Small tasks that ask of engines what the benchmarks' networks do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.batch import Samples
from models.pixels import OverPixels
from models.sample import SampleFormat
from models.task import Array, Batch, DataSet, Field, Part, Run, Score, Sources, Task

WORDS, WIDTH = 50, 16


class Encoder(nn.Module):
    """Token ids and a mask, of any length, to a value for each token, and one for all."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.query, self.key = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 1)
        self.register_buffer("shift", torch.full((WIDTH,), 0.5))

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = self.embedding(ids) + self.shift
        scores = self.query(x) @ self.key(x).transpose(1, 2) / WIDTH**0.5
        scores = scores + (mask[:, None, :].float() - 1) * 1e4
        x = self.norm(x + scores.softmax(-1) @ x)
        weights = mask[:, :, None].float()
        return self.head(x).squeeze(-1), (x * weights).sum(1) / weights.sum(1)


class Picture(nn.Module):
    """float32 images to one value: a batch norm that can be folded, and channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.norm.running_mean = torch.linspace(-1, 1, 8)
        self.norm.running_var = torch.linspace(0.5, 2, 8)
        self.head = nn.Linear(8, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = torch.relu(self.norm(self.convolution(image)))
        return {"value": self.head(x.mean((2, 3)))}


PARTS: tuple[Part, ...] = (
    Part(
        "text",
        (Field("ids", "<i8", (None,)), Field("mask", "|b1", (None,))),
        (Field("tokens", "<f4", (None,)), Field("whole", "<f4", (WIDTH,))),
    ),
    Part("picture", (Field("image", "<f4", (3, 8, 8)),), (Field("value", "<f4", (1,)),)),
)
NETWORKS: dict[str, type[nn.Module]] = {"text": Encoder, "picture": Picture}


class TwoParts(Task):
    """A picture's value added to those of a text's tokens: answers as long as the text."""

    name = "two-parts"
    title = "Two parts"
    benchmarks = ()
    parts = PARTS
    answer_bytes = 400

    def data(self, sources: Sources) -> DataSet:
        raise NotImplementedError

    def graph(self, part: str, weights: Path | None) -> nn.Module | Path:
        network = NETWORKS[part]()
        if weights is not None:
            network.load_state_dict(torch.load(weights)[part])
        return network.eval()

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Sequence[bytes | Array]:
        value = run["picture"](image=batch.views("image"))["value"]
        lengths = [len(ids) for ids in batch.views("ids")]
        ids = batch.padded("ids", max(lengths))
        mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
        tokens = run["text"](ids=ids, mask=mask)["tokens"]
        return [t[:n] + v for t, v, n in zip(tokens, value, lengths, strict=True)]

    def score(self, answers: Mapping[int, bytes], data: DataSet) -> Score:
        raise NotImplementedError


class Small(nn.Module):
    """What quantisation knows: convolutions with ReLU, a mean, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, padding=1)
        self.block = nn.Conv2d(16, 32, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.block(torch.relu(self.stem(x))))
        return self.head(self.pool(x).flatten(1))


class Pictures(Task):
    """Pixels to ten values, which are the answer."""

    name = "pictures"
    title = "Pictures"
    benchmarks = ()
    sample = SampleFormat(
        *(16, 16, (1, 1, 1, 1), (124, 116, 104)), (120.0, 115.0, 100.0), (60.0, 55.0, 50.0)
    )
    parts = (
        Part(
            "network",
            (Field("pixels", "|u1", sample.shape),),
            (Field("values", "<f4", (10,)),),
        ),
    )
    answer_bytes = 40

    def data(self, sources: Sources) -> DataSet:
        raise NotImplementedError

    def graph(self, part: str, weights: Path | None) -> nn.Module | Path:
        network = Small()
        if weights is not None:
            network.load_state_dict(torch.load(weights))
        return OverPixels(network, self.sample).eval()

    def infer(self, run: Mapping[str, Run], batch: Batch) -> Sequence[bytes | Array]:
        return list(run["network"](pixels=batch.views("pixels"))["values"].copy())

    def score(self, answers: Mapping[int, bytes], data: DataSet) -> Score:
        raise NotImplementedError


def pictures(count: int, seed: int = 0) -> list[dict[str, Array]]:
    """Smooth random pictures, each of another colour."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = random.integers(0, 256, (5, 5, 3)).repeat(4, 0).repeat(4, 1)[:18, :18]
        noise = random.integers(-20, 21, coarse.shape)
        found.append({"pixels": (coarse + noise).clip(0, 255).astype(np.uint8)})
    return found


def samples(count: int, seed: int = 0) -> list[dict[str, Array]]:
    """Texts of 1 to 20 tokens with a picture each."""
    random = np.random.default_rng(seed)
    return [
        {
            "ids": random.integers(0, WORDS, random.integers(1, 21)),
            "image": random.standard_normal((3, 8, 8), np.float32),
        }
        for _ in range(count)
    ]


def save_weights(path: Path) -> None:
    """Random parameters of both networks."""
    torch.manual_seed(0)
    torch.save({name: make().state_dict() for name, make in NETWORKS.items()}, path)


def exact(task: Task, weights: Path, batch: Sequence[Mapping[str, Array]]) -> list[Array]:
    """The answers by the networks themselves, one sample at a time."""

    def run(part: str) -> Run:
        network = task.graph(part, weights)
        assert isinstance(network, nn.Module)
        (described,) = (p for p in task.parts if p.name == part)

        def runs(**inputs: Array) -> Mapping[str, Array]:
            arrays = [np.stack([*inputs[field.name]]) for field in described.inputs]
            tensors = [torch.from_numpy(array) for array in arrays]
            with torch.no_grad():
                found = network(*tensors)
            if isinstance(found, dict):
                return {name: tensor.numpy() for name, tensor in found.items()}
            found = [found] if isinstance(found, Tensor) else found
            return {f.name: t.numpy() for f, t in zip(described.outputs, found, strict=True)}

        return runs

    runs = {part.name: run(part.name) for part in task.parts}
    return [np.asarray(task.infer(runs, Samples([sample]))[0]) for sample in batch]
