"""Fills a network with the weights of a file."""

from __future__ import annotations

from pathlib import Path

import torch

from models.errors import WeightsError
from models.sample import SampleFormat
from models.weights.kind import Kind, kind_of
from models.weights.state import is_counter, read_state


def load_into(network: torch.nn.Module, path: Path, sample: SampleFormat) -> torch.nn.Module:
    """Fill the network with the tensors of a file, converted to the network's types.

    A state dictionary must have the network's names and shapes; `num_batches_tracked` has no part
    in inference and may be absent or not. An ONNX file must compute what the network computes of
    samples of this format. Raises WeightsError that names what differs.
    """
    kind = kind_of(path)
    if kind is Kind.ONNX:
        from models.weights.onnx_check import compare
        from models.weights.onnx_file import read_graph
        from models.weights.onnx_match import weights_for

        graph = read_graph(path)
        state = weights_for(network, graph)
        fill(network, state, path)
        compare(network, graph, sample)
        # It holds all weights once more.
        read_graph.forget()
    else:
        fill(network, read_state(path, kind, network.state_dict()), path)
    return network.eval()


def fill(network: torch.nn.Module, given: dict[str, torch.Tensor], path: Path) -> None:
    """Fill the network with tensors by its own names. Raises WeightsError: what differs."""
    own = network.state_dict()
    differences = {
        "missing": [k for k in own if k not in given and not is_counter(k)],
        "unexpected": [k for k in given if k not in own and not is_counter(k)],
        "wrong shape": [
            f"{key} {list(given[key].shape)} for {list(tensor.shape)}"
            for key, tensor in own.items()
            if key in given and given[key].shape != tensor.shape
        ],
    }
    problems = [f"{what}: {_first_three(keys)}" for what, keys in differences.items() if keys]
    if problems:
        raise WeightsError(f"{path}: does not fit {type(network).__name__} ({'; '.join(problems)})")
    strange = [k for k, v in given.items() if v.is_meta or v.is_quantized or not _is_dense(v)]
    if strange:
        raise WeightsError(f"{path}: not plain tensors of numbers: {_first_three(strange)}")
    broken = [k for k, v in given.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        raise WeightsError(f"{path}: not finite: {_first_three(broken)}")
    network.load_state_dict(
        {key: given.get(key, tensor).to(tensor.dtype) for key, tensor in own.items()}
    )


def _is_dense(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided


def _first_three(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more
