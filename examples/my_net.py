"""A network of one's own: loadrun run examples/my_net.py:TASK --engine pytorch --precision fp32."""

import numpy as np

from loadrun.task import Benchmark, Field, Part, Score, Task

SIGNAL, CLASSES = Field("signal", "<f4", (1, 128)), 8


class Tones:
    """The data set: very noisy tones, each of one of eight pitches. It needs no files."""

    name, preparation, sha256, synthetic = "tones", "tones-1", "seed 7", True
    fields, notes, truth, scored = (SIGNAL,), (), "the pitches that were drawn", True

    def __len__(self):
        return 512

    def pitch(self, index):
        return int(np.random.default_rng((7, index)).integers(CLASSES))

    def read(self, index):
        noise = np.random.default_rng((8, index)).normal(0, 3, SIGNAL.shape)
        tone = np.sin(np.arange(128) * (self.pitch(index) + 1) / 4)
        return {"signal": (tone + noise).astype(np.float32)}

    def cost(self, sample):
        return 1.0


class MyNet(Task):
    name, title, answer_bytes = "my-net", "My network", 4
    parts = (Part("network", (SIGNAL,), (Field("scores", "<f4", (CLASSES,)),)),)
    benchmarks = (
        Benchmark("my-net", conf="my-net", metric="accuracy", reference=84.18, share=0.99,
                  scenarios=("Offline",), samples=512, performance_samples=512, server_ms=20.0),
    )  # fmt: skip

    def data(self, sources):
        return Tones()

    def graph(self, part, weights):
        import torch  # here, so that only what computes has to load it

        waves = torch.arange(128) * torch.arange(1, CLASSES + 1)[:, None] / 4
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(128, CLASSES))
        network[1].weight.data, network[1].bias.data = waves.sin(), torch.zeros(CLASSES)
        return network

    def infer(self, run, batch):
        scores = run["network"](signal=batch.stacked("signal"))["scores"]
        return scores.argmax(axis=1).astype("<i4")

    def score(self, answers, data):
        good = sum(data.pitch(i) == int.from_bytes(a, "little") for i, a in answers.items())
        value = 100 * good / len(answers)
        return Score(value, f"accuracy={value:.3f}%", len(answers), good)


TASK = MyNet()
