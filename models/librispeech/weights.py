"""Checkpoints of RNN-T by their published names."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from models.errors import WeightsError
from models.librispeech.features import WIDTH
from models.librispeech.labels import BLANK
from models.librispeech.network import PARTS, STACKED, Sizes
from models.weights.kind import Kind
from models.weights.kind import kind_of as file_kind
from models.weights.state import read_state

_FIRST = "encoder.pre_rnn.lstm.weight_ih_l0"
_NEEDED = (_FIRST, "prediction.embed.weight", "encoder.post_rnn.lstm.weight_ih_l0")
UNUSED = ("audio_preprocessor.",)
"""Constants of the front end, which are computed."""

State = dict[str, Tensor]


def read(path: Path) -> State:
    """Return a checkpoint's tensors, float32, by the published names. Raises WeightsError."""
    kind: Kind = file_kind(path)
    state = read_state(path, kind, _NEEDED)
    named = {name.replace("joint.net.", "joint_net."): t.float() for name, t in state.items()}
    return {name: t for name, t in named.items() if not name.startswith(UNUSED)}


def sizes_of(path: Path, state: State) -> Sizes:
    """Return the widths of a checkpoint's network. Raises WeightsError that says what is wrong."""

    def layers(prefix: str) -> int:
        found = 0
        while f"{prefix}.weight_ih_l{found}" in state:
            found += 1
        return found

    try:
        sizes = Sizes(
            encoder=state["encoder.pre_rnn.lstm.weight_hh_l0"].shape[1],
            pre=layers("encoder.pre_rnn.lstm"),
            post=layers("encoder.post_rnn.lstm"),
            embedding=state["prediction.embed.weight"].shape[1],
            prediction=state["prediction.dec_rnn.lstm.weight_hh_l0"].shape[1],
            prediction_layers=layers("prediction.dec_rnn.lstm"),
            joint=state["joint_net.0.weight"].shape[0],
        )
    except KeyError as error:
        raise WeightsError(f"{path}: not an RNN-T: has no {error.args[0]}") from None
    given = (
        ("features", state[_FIRST].shape[1], WIDTH),
        ("labels and blank", len(state["joint_net.3.weight"]), BLANK + 1),
        ("stacked frames", state[_NEEDED[2]].shape[1], STACKED * sizes.encoder),
        ("labels", len(state["prediction.embed.weight"]), BLANK),
    )
    for what, found, expected in given:
        if found != expected:
            raise WeightsError(f"{path}: is for {found} {what}, this RNN-T has {expected}")
    return sizes


def part(name: str, sizes: Sizes, state: State) -> nn.Module:
    """Return a part of the network in evaluation mode, with its parameters of a checkpoint."""
    encoder = sizes.encoder
    weight, bias = state["joint_net.0.weight"], state["joint_net.0.bias"]
    with torch.device("meta"):
        module = PARTS[name](sizes)
    if name == "encoder":
        own = _below(state, "encoder.")
        own |= {"joint_side.weight": weight[:, :encoder], "joint_side.bias": bias}
    elif name == "prediction":
        own = _below(state, "prediction.") | {"joint_side.weight": weight[:, encoder:]}
        own["embed.weight"] = torch.cat([own["embed.weight"], torch.zeros(1, sizes.embedding)])
    else:
        own = {f"out.{kind}": state[f"joint_net.3.{kind}"] for kind in ("weight", "bias")}
    given = {key: tensor.contiguous() for key, tensor in own.items()}
    module.load_state_dict(given, assign=True)
    return module.eval().requires_grad_(False)


def _below(state: State, prefix: str) -> State:
    return {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
