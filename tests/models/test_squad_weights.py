"""BERT's weights in the forms that their makers publish, and what fits no BERT."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.errors import WeightsError
from models.squad.network import QuestionAnswering
from models.squad.sizes import LARGE, Sizes, read_config
from models.squad.stream import stream
from models.squad.task import SQUAD
from models.squad.weights import load_network, read_weights

SIZES = Sizes(hidden=128, layers=2, heads=2, inner=256, pieces=120, positions=64)
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> QuestionAnswering:
    torch.manual_seed(5)
    made = QuestionAnswering(SIZES)
    made.eval().requires_grad_(False)
    return made


def logits(network: Any) -> Tensor:
    rng = np.random.default_rng(1)
    ids = [rng.integers(0, 120, size).astype(np.int32) for size in (9, 9, 17)]
    given = stream(ids, [4, 3, 6])
    with torch.inference_mode():
        result: Tensor = network(**{name: torch.from_numpy(one) for name, one in given.items()})
    return result


def saved(path: Path, state: State) -> Path:
    torch.save(state, path)
    return path


def renamed(state: State, *names: tuple[str, str]) -> State:
    for old, new in names:
        state = {name.replace(old, new): tensor for name, tensor in state.items()}
    return state


def without(state: State, part: str) -> State:
    return {name: tensor for name, tensor in state.items() if part not in name}


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_network(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_bert_large_has_the_reference_s_parameters() -> None:
    with torch.device("meta"):
        network = QuestionAnswering(LARGE)
    assert sum(parameter.numel() for parameter in network.parameters()) == 334_094_338
    assert LARGE.macs(384) == pytest.approx(123.2e9, rel=1e-3)


def test_sequences_of_a_stream_do_not_see_each_other(network: QuestionAnswering) -> None:
    rng = np.random.default_rng(2)
    ids = [rng.integers(0, 120, size).astype(np.int32) for size in (7, 12, 12, 5)]
    together = logits_of(network, ids, [3, 4, 5, 2])
    alone = [
        logits_of(network, [one], [second]) for one, second in zip(ids, [3, 4, 5, 2], strict=True)
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def logits_of(network: Any, ids: list[Any], seconds: list[int]) -> Tensor:
    given = {name: torch.from_numpy(one) for name, one in stream(ids, seconds).items()}
    with torch.inference_mode():
        result: Tensor = network(**given)
    return result


def test_it_computes_what_hugging_face_s_computes(network: QuestionAnswering) -> None:
    """One block by hand, with padding and a mask as the reference has them."""
    ids = np.arange(8, dtype=np.int32)
    found = logits_of(network, [ids], [3])
    b = network.bert
    e = b.embeddings
    types = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 0, 0])
    padded = torch.cat([torch.from_numpy(ids), torch.zeros(2, dtype=torch.int32)])
    mask = torch.tensor([0.0] * 8 + [-10000.0] * 2)
    with torch.inference_mode():
        x = e.word_embeddings(padded) + e.position_embeddings(torch.arange(10))
        x = e.LayerNorm(x + e.token_type_embeddings(types))
        for layer in b.encoder.layer:
            a = layer.attention
            parts = (a.self.query, a.self.key, a.self.value)
            q, k, v = (part(x).view(10, 2, 64).transpose(0, 1) for part in parts)
            weights = torch.softmax(q @ k.transpose(1, 2) / 8 + mask, -1)
            seen = (weights @ v).transpose(0, 1).reshape(10, 128)
            x = a.output.LayerNorm(a.output.dense(seen) + x)
            h = layer.intermediate.dense(x)
            h = h * 0.5 * (1 + torch.erf(h / 2**0.5))
            x = layer.output.LayerNorm(layer.output.dense(h) + x)
        expected = network.qa_outputs(x)[:8]
    assert torch.allclose(found, expected, atol=1e-5)


def test_state_dictionaries(network: QuestionAnswering, tmp_path: Path) -> None:
    state, expected = network.state_dict(), logits(network)
    converted = renamed(
        state,
        ("LayerNorm.weight", "LayerNorm.gamma"),
        ("LayerNorm.bias", "LayerNorm.beta"),
        ("qa_outputs", "classifier"),
    )
    extra = {
        "bert.pooler.dense.weight": torch.zeros(128, 128),
        "bert.embeddings.position_ids": torch.arange(64)[None],
    }
    module = {f"module.{name}": tensor for name, tensor in state.items()}
    for number, one in enumerate((state, {**state, **extra}, converted, module)):
        path = saved(tmp_path / f"{number}.bin", one)
        assert torch.equal(logits(load_network(path)), expected)


def test_safetensors_and_sizes_from_the_configuration(
    network: QuestionAnswering, tmp_path: Path
) -> None:
    torch_format = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    path = tmp_path / "model.safetensors"
    torch_format.save_file({n: t.half() for n, t in network.state_dict().items()}, path)
    assert torch.allclose(logits(load_network(path)), logits(network), atol=1e-2)
    config = {
        "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 256, "vocab_size": 120, "max_position_embeddings": 64,
        "type_vocab_size": 2, "hidden_act": "gelu",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_network(path).sizes.heads == 4
    for change, part in (
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        ({"num_attention_heads": 3}, "do not divide by 3 heads"),
        ({"vocab_size": None}, "not a BERT's configuration"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(WeightsError, match=part):
            read_config(path)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda s: without(s, "qa_outputs"), "has no head and no qa_outputs"),
        (
            lambda s: {**without(s, "qa_outputs"), "classify.weight": torch.zeros(3, 128)},
            "has classify and no qa_outputs",
        ),
        (lambda s: {**s, "qa_outputs.weight": torch.zeros(3, 128)}, "another head"),
        (lambda s: {"roberta.x": torch.zeros(2)}, "no bert.embeddings"),
        (lambda s: without(s, "1.output.dense.bias"), "layer.1.output.dense.bias"),
        (lambda s: {**s, "qa_outputs.bias": torch.tensor([0.0, torch.nan])}, "not finite"),
        (lambda s: {**s, "bert.extra": torch.zeros(1)}, "unexpected: bert.extra"),
    ],
)
def test_weights_of_another_network(
    network: QuestionAnswering, tmp_path: Path, change: Callable[[State], State], part: str
) -> None:
    path = tmp_path / "w.bin"
    torch.save(change(network.state_dict()), path)
    assert part in refused(path)


def test_ranges_of_a_file_that_was_trained_for_int8(
    network: QuestionAnswering, tmp_path: Path
) -> None:
    name = "bert.encoder.layer.0.attention.self.query"
    state = {
        **network.state_dict(),
        f"{name}._input_quantizer._amax": torch.tensor(6.0),
        f"{name}._weight_quantizer._amax": torch.tensor(0.5),
    }
    path = saved(tmp_path / "pytorch_model.bin", state)
    assert read_weights(path).ranges == {
        f"{name}._input_quantizer._amax": 6.0,
        f"{name}._weight_quantizer._amax": 0.5,
    }
    assert torch.equal(logits(load_network(path)), logits(network))


@pytest.mark.parametrize("quantised", [False, True])
def test_onnx_files_have_weights_without_names(
    network: QuestionAnswering, tmp_path: Path, quantised: bool
) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (the extra 'onnx')")
    path = tmp_path / "model.onnx"
    onnx.save(onnx_of(onnx, network, quantised), path)
    read = read_weights(path)
    assert torch.equal(logits(load_network(path)), logits(network))
    name = "bert.encoder.layer.1.output.dense"
    wanted = {f"{name}._input_quantizer._amax": 2.54, f"{name}._weight_quantizer._amax": 1.27}
    found = {key: value for key, value in read.ranges.items() if key.startswith(name)}
    assert found == pytest.approx(wanted if quantised else {})


def onnx_of(onnx: Any, network: QuestionAnswering, quantised: bool) -> Any:
    """The linear layers as exporters write them; nothing else of the graph is needed."""
    helper, to_tensor = onnx.helper, onnx.numpy_helper.from_array
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    linear = [name.removesuffix(".bias") for name in state if name.endswith(".bias")]
    weights = [f"{name}.weight" for name in linear if "Norm" not in name]
    tensors = [to_tensor(state[name], name) for name in state if name not in weights]
    tensors += [
        to_tensor(np.float32(0.02), "in_scale"),
        to_tensor(np.float32(0.01), "scale"),
        to_tensor(np.int8(0), "zero"),
    ]
    nodes = []

    def quantise(value: str, scale: str) -> str:
        inside, outside = f"{value}.q", f"{value}.dq"
        nodes.append(helper.make_node("QuantizeLinear", [value, scale, "zero"], [inside]))
        nodes.append(helper.make_node("DequantizeLinear", [inside, scale, "zero"], [outside]))
        return outside

    for number, name in enumerate(weights):
        bias, source = f"{name.removesuffix('.weight')}.bias", f"x{number}"
        if quantised:
            tensors.append(to_tensor(state[name], f"{number}.w"))
            source = quantise(source, "in_scale")
            nodes.append(
                helper.make_node("Transpose", [quantise(f"{number}.w", "scale")], [f"{number}.t"])
            )
            weight = f"{number}.t"
        else:
            weight = str(1000 + number)
            tensors.append(to_tensor(np.ascontiguousarray(state[name].T), weight))
        nodes.append(helper.make_node("MatMul", [source, weight], [f"{number}.p"]))
        nodes.append(helper.make_node("Add", [f"{number}.p", bias], [f"y{number}"]))
    graph = helper.make_graph(nodes, "bert", [], [], tensors)
    return helper.make_model(graph)


def test_the_small_trained_network_has_its_sizes(shared_data: Path) -> None:
    path = shared_data / "weights" / "small" / "bert_small_squad.safetensors"
    network = SQUAD.graph("network", path)
    assert network.sizes == Sizes(384, 6, 12, 1536, 30522, 512, 2)
