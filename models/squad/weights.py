"""Reads a BERT's weights: state dictionaries of several makers, MLPerf's files, ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.errors import WeightsError
from models.squad.network import QuestionAnswering
from models.squad.sizes import Sizes, read_config, sizes_of
from models.weights.kind import Kind, kind_of
from models.weights.state import read_state

WORDS = "bert.embeddings.word_embeddings.weight"
HEAD = "qa_outputs"
_SAME = {
    "classifier": HEAD,  # as TensorFlow's checkpoint was converted
    "LayerNorm.gamma": "LayerNorm.weight",  # of the first PyTorch versions
    "LayerNorm.beta": "LayerNorm.bias",
}
_AMAX = "_quantizer._amax"
_UNUSED = ("bert.pooler.", "bert.embeddings.position_ids", "cls.")
MAKERS = "Hugging Face's BertForQuestionAnswering or MLPerf's"


@dataclass(frozen=True)
class Read:
    """A state dictionary under the network's names, its sizes, and ranges of QAT files.

    `ranges` are the largest magnitudes by the file's names, such as
    `bert.encoder.layer.0.attention.self.query._input_quantizer._amax`; empty for other files.
    """

    sizes: Sizes
    state: dict[str, Tensor]
    ranges: dict[str, float]


def read_weights(path: Path) -> Read:
    """Read a weights file. Raises WeightsError that names what does not fit."""
    kind = kind_of(path)
    if kind is Kind.ONNX:
        from models.squad.onnx_names import read_named

        given = read_named(path)
    else:
        given = read_state(path, kind, [WORDS])
    given = {_renamed(name): tensor for name, tensor in given.items()}
    ranges = {name: float(tensor.max()) for name, tensor in given.items() if name.endswith(_AMAX)}
    state = {
        name: tensor
        for name, tensor in given.items()
        if name not in ranges and not name.startswith(_UNUSED) and "_quantizer" not in name
    }
    _check_head(path, state)
    sizes = _sizes(path, state)
    return Read(sizes, state, ranges)


def load_network(path: Path) -> QuestionAnswering:
    """The network with the weights of a file, in float32. Raises WeightsError."""
    read = read_weights(path)
    with torch.device("meta"):
        network = QuestionAnswering(read.sizes)
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    _compare(path, own, read.state)
    network.load_state_dict(
        {name: read.state[name].float() for name in own}, strict=True, assign=True
    )
    network.eval().requires_grad_(False)
    return network


def _renamed(name: str) -> str:
    for old, new in _SAME.items():
        if old in name:
            name = name.replace(old, new)
    return name


def _check_head(path: Path, state: Mapping[str, Tensor]) -> None:
    if WORDS not in state:
        raise WeightsError(f"{path}: no {WORDS}: not {MAKERS} BERT")
    head = state.get(f"{HEAD}.weight")
    if head is None:
        others = sorted({name.split(".")[0] for name in state} - {"bert"})
        held = f"has {', '.join(others[:3])}" if others else "has no head"
        raise WeightsError(f"{path}: {held} and no {HEAD}: not trained to answer questions")
    if head.dim() != 2 or head.shape[0] != 2:
        raise WeightsError(
            f"{path}: {HEAD} is {list(head.shape)}: another head, this task has start and end"
        )


def _sizes(path: Path, state: Mapping[str, Tensor]) -> Sizes:
    try:
        by_shape = sizes_of({name: tuple(tensor.shape) for name, tensor in state.items()})
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{path}: not {MAKERS} BERT (no {error})") from None
    return read_config(path) or by_shape


def _compare(path: Path, own: Mapping[str, tuple[int, ...]], given: Mapping[str, Tensor]) -> None:
    differences = {
        "missing": [name for name in own if name not in given],
        "unexpected": [name for name in given if name not in own],
        "wrong shape": [
            f"{name} {list(given[name].shape)} for {list(shape)}"
            for name, shape in own.items()
            if name in given and tuple(given[name].shape) != shape
        ],
        "not finite": [
            name for name in own if name in given and not bool(given[name].isfinite().all())
        ],
    }
    told = [
        f"{what}: {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if names[3:] else "")
        for what, names in differences.items()
        if names
    ]
    if told:
        raise WeightsError(f"{path}: does not fit BERT ({'; '.join(told)})")
