"""DLRM: its published checkpoints' names, what it computes, how its answers are scored."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from models.criteo import raw, rows, score, weights
from models.criteo.network import DLRM, CrossLayers, Tables
from models.criteo.shapes import MULTIHOT, TERABYTE_10M, TERABYTE_40M, of_state
from models.errors import WeightsError
from models.ranking import Shape

V2 = Shape((8, 4), (8, 8, 8, 8, 1), (9, 5), (3, 1), cross_rank=2)


def test_the_published_sizes_add_up() -> None:
    assert sum(TERABYTE_40M.rows) == 187_767_399
    assert sum(TERABYTE_10M.rows) == 49_126_297
    assert sum(MULTIHOT.rows) == 204_184_588
    assert (TERABYTE_40M.interaction, TERABYTE_10M.interaction) == (479, 415)
    assert (MULTIHOT.lookups, MULTIHOT.interaction) == (214, 3456)


def test_the_trained_network_gives_its_published_answers(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "weights/small/dlrm_small.pt"
    raw.to_binary(shared_data / "criteo/criteo_dev.tsv.gz", tmp_path / "dev.bin", 2000, False)
    data = rows.binary_rows(tmp_path / "dev.bin")
    with torch.inference_mode():
        logits = weights.network(path)(*map(torch.from_numpy, data.block(0, len(data))))
    predicted = torch.sigmoid(logits).numpy()
    assert np.allclose(predicted[:3], [0.436485, 0.446804, 0.333938], atol=1e-6)
    clicked = data.labels(0, len(data))
    assert round(score.roc_auc(clicked, predicted), 4) == 0.7106
    assert (
        score.line(clicked, predicted, 2)
        == "AUC=71.056%, accuracy=77.262%, good=316, total=409, queries=2"
    )


def test_ties_count_a_half() -> None:
    clicked = np.array([1, 0, 1, 0, 0], np.uint8)
    predicted = np.array([0.5, 0.5, 0.9, 0.1, 0.9], np.float32)
    pairs = [(p, n) for p in predicted[clicked == 1] for n in predicted[clicked == 0]]
    expected = sum((p > n) + (p == n) / 2 for p, n in pairs) / len(pairs)
    assert score.roc_auc(clicked, predicted) == expected
    assert np.isnan(score.roc_auc(clicked * 0, predicted))


@pytest.mark.parametrize("hot", [(1, 1, 1), (3, 1, 2)])
def test_tables_one_below_the_other_give_what_single_ones_give(hot: tuple[int, ...]) -> None:
    shape = Shape((4,), (1,), (7, 3, 5), hot)
    single, joined = Tables(shape), Tables(shape)
    single.sources = [torch.randn(n, 4) for n in shape.rows]
    joined.weight = torch.cat(single.sources)
    columns = [torch.randint(0, n, (6, k)) for n, k in zip(shape.rows, hot, strict=True)]
    sparse = torch.cat(columns, 1).int()
    expected = torch.stack(
        [source[c].sum(1) for source, c in zip(single.sources, columns, strict=True)], 1
    )
    torch.testing.assert_close(single(sparse), expected)
    torch.testing.assert_close(joined(sparse), expected)


def test_cross_layers_are_the_papers() -> None:
    cross = CrossLayers(6, 2, layers=1)
    x = torch.randn(3, 6)
    v, w, b = cross.narrow[0].weight, cross.wide[0].weight, cross.wide[0].bias
    expected = torch.stack([one * (w @ (v @ one) + b) + one for one in x])
    torch.testing.assert_close(cross(x), expected)


def test_a_snapshot_of_v2_is_read_by_its_names(tmp_path: Path) -> None:
    ours = DLRM(V2)
    state = dict(ours.state_dict())
    state |= {f"emb_l.{i}.weight": torch.randn(n, 4) for i, n in enumerate(V2.rows)}
    published = {_published(name): tensor for name, tensor in state.items()}
    assert "model.over_arch.model.1.weight" in published
    torch.save(published, tmp_path / "v2.pt")
    tensors = weights.read_mapped(tmp_path / "v2.pt")
    assert tensors.keys() == state.keys()
    assert weights.shape_of(tmp_path / "v2.pt", tensors, V2.hot) == V2


def _published(name: str) -> str:
    part, number, *rest = name.split(".")
    if part == "bot_l":
        return f"model.dense_arch.model._mlp.{int(number) // 2}._linear.{rest[0]}"
    if part == "top_l" and int(number) == 8:
        return f"model.over_arch.model.1.{rest[0]}"
    if part == "top_l":
        return f"model.over_arch.model.0._mlp.{int(number) // 2}._linear.{rest[0]}"
    if part == "emb_l":
        bags = "sparse_arch.embedding_bag_collection.embedding_bags"
        return f"model.{bags}.t_cat_{number}.{rest[0]}"
    kind = {"narrow.weight": "V_kernels", "wide.weight": "W_kernels", "wide.bias": "bias"}
    return f"model.inter_arch.crossnet.{kind[f'{number}.{rest[1]}']}.{rest[0]}"


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        ({"a.weight": torch.zeros(2)}, "not a DLRM"),
        ({}, "holds no tensors by name"),
    ],
)
def test_other_weights_get_one_line(
    tmp_path: Path, state: dict[str, torch.Tensor], wrong: str
) -> None:
    path = tmp_path / "x.pt"
    torch.save({"state_dict": state}, path)
    with pytest.raises(WeightsError, match=wrong):
        weights.network(path)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"state_dict": {"a": os.system}}, path)
    with pytest.raises(WeightsError, match="not a checkpoint of tensors alone"):
        weights.network(path)


def test_a_shape_is_read_from_parameters() -> None:
    sizes = {name: tuple(t.shape) for name, t in DLRM(V2).state_dict().items()}
    sizes |= {"emb_l.0.weight": (9, 4), "emb_l.1.weight": (5, 4)}
    found = of_state(sizes)
    assert found is not None
    assert (found.bottom, found.top, found.rows) == (V2.bottom, V2.top, V2.rows)
    assert weights.differing_tables(found, Shape((4,), (1,), (9, 6))) == [
        "table 1 has 5 rows, expected 6"
    ]
