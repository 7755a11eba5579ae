"""The embedded default: the full-size network with seeded weights, on seeded sounds.

Lengths follow LibriSpeech's. A sound is a row of phones, each a colour of its own; the first one
spells a space, every other two letters. Layers of the encoder and the prediction network are
seeded, with gates that let through what is there now. Two linear maps are fitted to them, in closed
form: which phone is heard, and which label was spelt last. The joint network is made of these: it
spells what is heard and not yet spelt, about as many labels a second as speech has. The truth is
what this network itself says in float32.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from base.files import locked, write_text, written_aside
from models.distributions import LIBRISPEECH_SECONDS
from models.librispeech.dataset import RATE, fields
from models.librispeech.features import WIDTH, Frames, extract
from models.librispeech.labels import BLANK, text
from models.task import Field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.librispeech.network import Sizes

Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]

VERSION = 2
"""Changes with anything that changes sounds, weights or truth."""
SERVED, CALIBRATED, FITTED = 48, 16, 24
"""Sounds that are served, that int8 ranges are taken from, and that weights are fitted on."""
PHONES = 15
"""The first one spells a space, the last one an apostrophe, the others two letters each."""
SPELT = ((0,), *((2 * phone - 1, 2 * phone) for phone in range(1, PHONES - 1)), (BLANK - 1,))
LATE = RATE // 100 * 2
"""Samples that the encoder may take to know a phone."""
TOGETHER = 24
"""Sounds that go through the network side by side."""
_SEED = 24
_HERTZ = (200.0, 6500.0)
"""Of the tones of phones."""
_SURE = 0.58
"""How much of a phone has to be heard for a label, of 1."""
_RIDGE = 30.0


@dataclass(frozen=True)
class SyntheticSpeech:
    """Seeded sounds; `served` are those that have a truth, with the embedded weights alone."""

    kind: str
    count: int
    cache: Path | None = None
    scored: bool = False
    name: str = "synthetic"
    synthetic: bool = True
    preparation: str = f"speech-synthetic-{VERSION}"
    notes: Sequence[str] = ()

    @property
    def sha256(self) -> str:
        """Of all that shapes the sounds."""
        import hashlib

        facts = f"synthetic speech {VERSION} {self.kind} {self.count} {self.scored}"
        return hashlib.sha256(facts.encode()).hexdigest()

    @property
    def fields(self) -> tuple[Field, ...]:
        """As LibriSpeech's."""
        return fields("<i2")

    @property
    def truth(self) -> str:
        """The network's own words, where it is the embedded one."""
        if self.scored:
            return "what the network says in float32"
        return "the embedded sounds have no transcripts for other weights (give --data)"

    @property
    def texts(self) -> Sequence[str]:
        """The transcript of each sound."""
        assert self.cache is not None
        kept: list[str] = json.loads(_truth(self.cache).read_text(encoding="utf-8"))
        return kept

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Mapping[str, Array]:
        """Return a sound's wave and rate."""
        wave = sound(self.kind, index, self.lengths[index])[0]
        return {"wave": wave, "rate": np.array(RATE, np.int32)}

    def cost(self, sample: Mapping[str, Array]) -> float:
        """Return the number of features, which the encoder's steps follow."""
        return float(Frames(RATE).features(len(sample["wave"])))

    @property
    def lengths(self) -> list[int]:
        """Samples of each sound."""
        seed = {"served": 0, "calibration": 1, "fitted": 2}[self.kind]
        # One of each part of the distribution, in a seeded order.
        places = np.random.default_rng([_SEED, seed]).permutation(self.count) + 0.5
        table = LIBRISPEECH_SECONDS.quantiles
        seconds = np.interp(
            places / self.count * (len(table) - 1), np.arange(len(table)), np.array(table)
        )
        return [int(one * RATE) for one in seconds]


def served(cache: Path | None, scored: bool = True) -> SyntheticSpeech:
    """The sounds that are served."""
    return SyntheticSpeech("served", SERVED, cache, scored)


def calibration() -> SyntheticSpeech:
    """The sounds that int8 ranges are taken from."""
    return SyntheticSpeech("calibration", CALIBRATED)


def sound(kind: str, index: int, samples: int) -> tuple[Array, Array]:
    """Return a seeded sound int16 [samples], and the phone at each sample, int8 [samples]."""
    random = np.random.default_rng([_SEED, index, *kind.encode()])
    low, high = np.log(_HERTZ)
    tones = np.exp(np.random.default_rng(_SEED).uniform(low, high, (PHONES, 3)))
    wave = np.zeros(samples, np.float32)
    phones = np.zeros(samples, np.int8)
    at, phone, since = 0, 0, 0
    while at < samples:
        length = min(int(random.uniform(0.11, 0.19) * RATE), samples - at)
        before = phone
        # Words have a few phones, and no phone follows itself.
        phone = 0 if since > 1 and random.random() < 0.4 else int(random.integers(1, PHONES))
        while phone == before:
            phone = int(random.integers(1, PHONES))
        since = 0 if phone == 0 else since + 1
        time = np.arange(length, dtype=np.float32) / RATE
        piece = 0.4 * random.standard_normal(length).astype(np.float32)
        for hertz in tones[phone] * random.uniform(0.97, 1.03):
            piece += np.sin(2 * np.pi * (hertz * time + random.random()), dtype=np.float32)
        edge = np.minimum(1, np.minimum(time, time[::-1]) / 0.01)
        wave[at : at + length] = piece * edge * 10 ** random.uniform(-1.3, -0.8)
        phones[at : at + length] = phone
        at += length
    wave += random.standard_normal(samples).astype(np.float32) * np.float32(1e-3)
    return np.clip(wave * (1 << 14), -32768, 32767).astype("<i2"), phones


def weights_file(cache: Path) -> Path:
    """Where the embedded weights are."""
    return cache / "librispeech" / f"rnnt-synthetic-{VERSION}.pt"


def _truth(cache: Path) -> Path:
    return cache / "librispeech" / f"rnnt-synthetic-{VERSION}-truth.json"


def ensure(cache: Path, progress: Progress, sizes: Sizes | None = None) -> None:
    """Make weights and truth, in half a minute of one processor, unless the cache holds them."""
    file = weights_file(cache)
    if file.is_file() and _truth(cache).is_file():
        return
    with locked(file):
        if file.is_file() and _truth(cache).is_file():
            return
        _make(cache, file, progress, sizes)


def _make(cache: Path, file: Path, progress: Progress, sizes: Sizes | None) -> None:
    import torch

    from models.librispeech.network import Sizes

    fitted = SyntheticSpeech("fitted", FITTED)
    data = served(cache)
    of = sum(fitted.lengths) + sum(data.lengths)
    done = 0

    def heard(samples: int) -> None:
        nonlocal done
        done += samples
        progress(done, of)

    threads = torch.get_num_threads()
    # Products of a step are short: threads that wait for each other take longer than one alone
    # wherever somebody else computes, too (ten times, on two busy processors).
    torch.set_num_threads(1)
    try:
        state = seeded_state(sizes or Sizes(), fitted, heard)
        spoken = transcripts(state, data, heard)
    finally:
        torch.set_num_threads(threads)
    with written_aside(file) as aside:
        torch.save({"state_dict": state}, aside)
    write_text(_truth(cache), json.dumps(spoken))


def seeded_state(
    sizes: Sizes, fitted: SyntheticSpeech, heard: Callable[[int], None] = lambda samples: None
) -> dict[str, Any]:
    """The network's parameters, by the published names; `heard` is told of each sound."""
    import torch

    from models.librispeech.network import Encoder, Prediction

    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        with torch.device("meta"):
            encoder, prediction = Encoder(sizes).eval(), Prediction(sizes).eval()
        encoder, prediction = encoder.to_empty(device="cpu"), prediction.to_empty(device="cpu")
        # What is rounded has been seen with about this spread: features, and states of layers.
        _seed_lstm(encoder.pre_rnn.lstm, generator, first=1.0)
        _seed_lstm(encoder.post_rnn.lstm, generator, first=0.35)
        prediction.embed.weight.normal_(0.0, 1.0, generator=generator)
        prediction.embed.weight[BLANK] = 0
        _seed_lstm(prediction.dec_rnn.lstm, generator, first=1.0)
        phones, bias = _fit_phones(encoder, fitted, heard)
        last = _fit_last(prediction)
        state = {
            f"encoder.{name}": tensor
            for name, tensor in encoder.state_dict().items()
            if not name.startswith("joint_side")
        }
        state |= {
            f"prediction.{name}": tensor[:BLANK] if name == "embed.weight" else tensor
            for name, tensor in prediction.state_dict().items()
            if not name.startswith("joint_side")
        }
        return state | _joint(sizes, phones, bias, last, generator)


def _seed_lstm(lstm: Any, generator: Any, first: float) -> None:
    """Seeded layers, whose gates (input, forget, output) vary less than what they let through."""
    for name, parameter in lstm.named_parameters():
        width = len(parameter) // 4
        kind, layer = name.split("_l")
        if kind.startswith("weight"):
            gain, seen = (1.0, first if layer == "0" else 0.35) if "ih" in kind else (0.1, 0.35)
            spread = gain / (seen * math.sqrt(parameter.shape[1]))
            parameter.normal_(0.0, spread, generator=generator)
            for gate in (0, 1, 3):
                parameter[gate * width : (gate + 1) * width] *= 0.1
        else:
            parameter.zero_()
            if kind == "bias_ih":
                for gate, value in ((0, 1.0), (1, -2.5), (3, 1.0)):
                    parameter[gate * width : (gate + 1) * width] = value


def _fit_phones(encoder: Any, fitted: SyntheticSpeech, heard: Callable[[int], None]) -> Any:
    """Weights [phones, wide] and bias [phones]: how much of each phone is in a frame, 0 to 1."""
    import torch

    wide = encoder.joint_side.in_features
    encoder.joint_side = torch.nn.Identity()
    encoder.joint_side.out_features = wide
    gram = np.zeros((wide + 1, wide + 1))
    towards = np.zeros((wide + 1, PHONES))
    for group in _groups(fitted.lengths):
        given = [sound(fitted.kind, one, fitted.lengths[one]) for one in group]
        encoded, lengths = _encode(encoder, [wave for wave, _ in given])
        for row, length, (_, phones) in zip(encoded, lengths, given, strict=True):
            frames = np.concatenate([row[:length], np.ones((length, 1))], 1).astype(np.float64)
            middle = (np.arange(length) + 0.5) * RATE * 0.06 - LATE
            spoken = phones[np.clip(middle.astype(int), 0, len(phones) - 1)]
            gram += frames.T @ frames
            towards += frames.T @ np.eye(PHONES)[spoken]
        heard(sum(fitted.lengths[one] for one in group))
    found = np.linalg.solve(gram + _RIDGE * np.eye(wide + 1), towards)
    return torch.from_numpy(found[:-1].T).float(), torch.from_numpy(found[-1]).float()


def _fit_last(prediction: Any) -> Any:
    """Weights [labels, narrow]: 1 for the label that was spelt last, 0 for others."""
    import torch

    narrow = prediction.joint_side.in_features
    rows, steps = 64, 40
    labels = np.random.default_rng(_SEED).integers(0, BLANK, (rows, steps))
    embedded = prediction.embed(torch.from_numpy(labels)).transpose(0, 1)
    states, _ = prediction.dec_rnn.lstm(embedded)
    given = states.transpose(0, 1).reshape(-1, narrow).double().numpy()
    wanted = np.eye(BLANK)[labels.reshape(-1)]
    ridge = 1e-3 * np.trace(given.T @ given) / narrow * np.eye(narrow)
    found = np.linalg.solve(given.T @ given + ridge, given.T @ wanted)
    return torch.from_numpy(found.T).float()


def _joint(sizes: Sizes, phones: Any, bias: Any, last: Any, generator: Any) -> dict[str, Any]:
    """The joint network: a label where its phone is heard, in its turn, and was not spelt yet.

    With `h` of a phone and `l` of labels, a first letter is worth relu(h - 2 l first - 2 l second),
    a second one relu(h + l first - 1): of `_SURE` they are likelier than blank.
    """
    import torch

    hidden, wide = sizes.joint, sizes.encoder
    weight = torch.empty(hidden, wide + sizes.prediction).normal_(
        0.0, 0.3 / math.sqrt(wide), generator=generator
    )
    offset = torch.zeros(hidden)
    out = torch.empty(BLANK + 1, hidden).normal_(0.0, 1e-4, generator=generator)
    for phone, labels in enumerate(SPELT):
        for turn, label in enumerate(labels):
            out[label, label] = 1.0
            weight[label, :wide] = phones[phone]
            if turn == 0:
                weight[label, wide:] = -2.0 * sum(last[one] for one in labels)
                offset[label] = bias[phone]
            else:
                weight[label, wide:] = last[labels[0]]
                offset[label] = bias[phone] - 1.0 + _SURE / 2
    blank = torch.zeros(BLANK + 1)
    blank[BLANK] = _SURE
    return {
        "joint_net.0.weight": weight,
        "joint_net.0.bias": offset,
        "joint_net.3.weight": out,
        "joint_net.3.bias": blank,
    }


def transcripts(
    state: dict[str, Any],
    data: SyntheticSpeech,
    heard: Callable[[int], None] = lambda samples: None,
) -> list[str]:
    """What a network says of sounds in float32."""
    import torch

    from models.librispeech import weights
    from models.librispeech.decode import greedy

    sizes = weights.sizes_of(Path(), state)
    encoder, *others = (
        weights.part(name, sizes, state) for name in ("encoder", "prediction", "joint")
    )
    names = ("predicted", "hidden", "cell"), ("label",)

    def run_of(module: Any, outputs: tuple[str, ...]) -> Callable[..., dict[str, Array]]:
        def run(**inputs: Array) -> dict[str, Array]:
            with torch.inference_mode():
                found = module(**{name: torch.from_numpy(one) for name, one in inputs.items()})
            found = found if isinstance(found, tuple) else (found,)
            return {name: one.numpy() for name, one in zip(outputs, found, strict=True)}

        return run

    prediction, joint = (run_of(one, given) for one, given in zip(others, names, strict=True))
    spoken = [""] * len(data)
    for group in _groups(data.lengths):
        waves = [sound(data.kind, one, data.lengths[one])[0] for one in group]
        encoded, lengths = _encode(encoder, waves)
        found = greedy(encoded, lengths, prediction, joint)
        for one, labels in zip(group, found, strict=True):
            spoken[one] = text(labels)
        heard(sum(data.lengths[one] for one in group))
    return spoken


def _groups(lengths: Sequence[int]) -> list[list[int]]:
    order = sorted(range(len(lengths)), key=lambda one: -lengths[one])
    return [order[start : start + TOGETHER] for start in range(0, len(order), TOGETHER)]


def _encode(encoder: Any, waves: Sequence[Array]) -> tuple[Array, Array]:
    """The encoder's outputs [n, frames, wide] of sounds, and the frames of each."""
    import torch

    features = [extract(wave, Frames(RATE)) for wave in waves]
    lengths = np.array([len(one) for one in features], np.int64)
    padded = np.zeros((len(features), lengths.max(), WIDTH), np.float32)
    for row, one in zip(padded, features, strict=True):
        row[: len(one)] = one
    with torch.inference_mode():
        encoded = encoder(torch.from_numpy(padded), torch.from_numpy(lengths))
    return encoded.numpy(), -(-lengths // 2)
