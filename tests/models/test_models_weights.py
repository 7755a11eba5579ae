import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import models
from models.errors import WeightsError


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = models.get("mobilenet").network().state_dict()
    return state


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        models.get("mobilenet").load_weights(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_float16_weights_become_float32(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "half.pth"
    torch.save({key: tensor.half() for key, tensor in state.items()}, path)
    loaded = models.get("mobilenet").load_weights(path).state_dict()
    assert {tensor.dtype for tensor in loaded.values()} == {torch.float32}
    assert torch.equal(loaded["features.0.weight"], state["features.0.weight"].half().float())


def test_batch_counters_may_be_absent(tmp_path: Path) -> None:
    model = models.get("resnet50")
    path = tmp_path / "resnet50.pth"
    state = model.network().state_dict()
    torch.save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, path)
    assert not model.load_weights(path).training


def test_names_up_to_three_missing_and_unexpected_tensors(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "other.pth"
    renamed = {f"module.{key}" if key.startswith("c") else key: v for key, v in state.items()}
    torch.save({k: v for k, v in renamed.items() if not k.startswith("features.1")}, path)
    message = refused(path)
    assert "missing: features.1.weight, features.1.bias, features.10.weight and 21 more" in message
    assert "unexpected: module.classifier.weight, module.classifier.bias" in message


def test_names_wrong_shapes(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "shape.pth"
    torch.save({**state, "classifier.bias": torch.zeros(1000)}, path)
    assert "wrong shape: classifier.bias [1000] for [1001]" in refused(path)


def test_names_tensors_that_are_not_finite(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "nan.pth"
    torch.save({**state, "classifier.bias": torch.full((1001,), torch.nan)}, path)
    assert "not finite: classifier.bias" in refused(path)


def test_missing_file(tmp_path: Path) -> None:
    assert "no such weights file" in refused(tmp_path / "none.pth")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        b"not a checkpoint",
        b"these are no weights",
        pickle.dumps([1, 2]),
        pickle.dumps(object),
        b"PK\x03\x04 of an archive cut short",
        *(bytes([code]) + b"\xff" * 30 for code in b"GJKTUXcjhqrtuse}]\x80\x8a\x8b"),
        *(np.random.default_rng(seed).bytes(200) for seed in range(20)),
    ],
    ids=lambda content: content[:4].hex(),
)
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    refused(path)


def test_a_folder_is_no_file_of_weights(tmp_path: Path) -> None:
    assert "cannot be read (Is a directory)" in refused(tmp_path)


def test_truncated_file(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "short.pth"
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:100_000])
    assert "not a PyTorch state dictionary" in refused(path)


class _Hostile:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.witness,)


def test_nothing_in_the_file_is_executed(tmp_path: Path) -> None:
    witness = tmp_path / "executed"
    path = tmp_path / "hostile.pth"
    torch.save({"features.0.weight": _Hostile(witness)}, path)
    refused(path)
    assert not witness.exists()


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
def test_checkpoints_of_training_scripts(
    tmp_path: Path, state: dict[str, torch.Tensor], wrapper: str
) -> None:
    path = tmp_path / "checkpoint.pth"
    wrapped = {f"module.{key}": tensor for key, tensor in state.items()}
    torch.save({"epoch": 89, wrapper: wrapped, "best_acc1": 0.7}, path)
    loaded = models.get("mobilenet").load_weights(path).state_dict()
    assert torch.equal(loaded["classifier.weight"], state["classifier.weight"])


def test_a_checkpoint_without_a_network_names_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "optimizer.pth"
    torch.save({"epoch": 3, "optimizer": {}}, path)
    assert "holds a dictionary of epoch, optimizer" in refused(path)


def test_safetensors(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    path = tmp_path / "mobilenet.bin"
    safetensors.save_file(state, path)
    loaded = models.get("mobilenet").load_weights(path).state_dict()
    assert torch.equal(loaded["classifier.weight"], state["classifier.weight"])
    path.write_bytes(path.read_bytes()[:5000])
    assert "not a whole safetensors file" in refused(path)
