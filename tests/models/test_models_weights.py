import argparse
import collections
import datetime
import enum
import functools
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import WeightsError
from models.imagenet.classifier import classifier


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = classifier("mobilenet").network().state_dict()
    return state


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        classifier("mobilenet").load_weights(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_float16_weights_become_float32(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "half.pth"
    torch.save({key: tensor.half() for key, tensor in state.items()}, path)
    loaded = classifier("mobilenet").load_weights(path).state_dict()
    assert {tensor.dtype for tensor in loaded.values()} == {torch.float32}
    assert torch.equal(loaded["features.0.weight"], state["features.0.weight"].half().float())


def test_batch_counters_may_be_absent(tmp_path: Path) -> None:
    model = classifier("resnet50")
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
    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.call = call
        self.arguments = arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.call, self.arguments


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("where", ["weight", "beside"])
@pytest.mark.parametrize("how", ["method", "eval", "system", "network"])
def test_nothing_in_the_file_is_executed(
    tmp_path: Path, state: dict[str, torch.Tensor], how: str, where: str, zipped: bool
) -> None:
    witness, path = tmp_path / "executed", tmp_path / "hostile.pth"
    hostile = {
        "method": _Hostile(Path.touch, witness),
        "eval": _Hostile(eval, f"open({str(witness)!r}, 'w')"),
        "system": _Hostile(os.system, f"touch {witness}"),
        "network": _Hostile(torch.nn.Sequential, _Hostile(Path.touch, witness)),
    }[how]
    beside = {"model": state, "args": hostile}
    held = {**state, "classifier.bias": hostile} if where == "weight" else beside
    torch.save(held, path, _use_new_zipfile_serialization=zipped)
    if how == "system":
        assert "calls posix.system when it is loaded" in refused(path)
    elif how in ("method", "network"):  # what a call gives is called in turn
        assert "cannot be read without executing it" in refused(path)
    elif where == "weight":
        assert "missing: classifier.bias" in refused(path)
    else:
        assert loads(path, state)
    assert not witness.exists()


def loads(path: Path, state: dict[str, torch.Tensor]) -> bool:
    loaded = classifier("mobilenet").load_weights(path).state_dict()
    return all(torch.equal(loaded[key], tensor) for key, tensor in state.items())


@pytest.mark.parametrize(
    "wrapper", ["state_dict", "model", "model_state_dict", "net", "module", "anything"]
)
def test_checkpoints_of_training_scripts(
    tmp_path: Path, state: dict[str, torch.Tensor], wrapper: str
) -> None:
    path = tmp_path / "checkpoint.pth"
    wrapped = {f"module.{key}": tensor for key, tensor in state.items()}
    torch.save({"epoch": 89, wrapper: wrapped, "best_acc1": torch.tensor(0.7)}, path)
    assert loads(path, state)
    torch.save({"epoch": 89, "trainer": {wrapper: wrapped}}, path)
    assert loads(path, state)


class _Config(dict):  # type: ignore[type-arg]
    pass


class _Names(list):  # type: ignore[type-arg]
    pass


class _Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "beside",
    [
        argparse.Namespace(lr=0.1, path=Path("/data"), began=datetime.datetime(2026, 1, 1)),
        _Config(inner=_Config(names=_Names(["a", "b"]))),
        [np.float64(0.5), np.zeros(3), np.dtype("f4"), _Colour.RED],
        [{1, 2}, frozenset([3]), 1j, 10**40, b"x", collections.defaultdict(list, a=[1])],
        functools.partial(int, "7"),
    ],
    ids=["options", "configuration", "numpy", "python", "function"],
)
def test_what_is_beside_the_weights_is_left_out(
    tmp_path: Path, state: dict[str, torch.Tensor], beside: object, zipped: bool
) -> None:
    path = tmp_path / "checkpoint.pth"
    held = {"model": state, "args": beside, "epoch": 3}
    torch.save(held, path, _use_new_zipfile_serialization=zipped)
    assert loads(path, state)


@pytest.mark.parametrize(
    "prefix",
    [
        *("_orig_mod.", "model.", "module.", "module._orig_mod.", "_orig_mod.module."),
        *("model._orig_mod.module.", "module.model.", "network.backbone."),
    ],
)
def test_prefixes_are_removed(tmp_path: Path, state: dict[str, torch.Tensor], prefix: str) -> None:
    path = tmp_path / "checkpoint.pth"
    named = {f"{prefix}{key}": tensor for key, tensor in state.items()}
    torch.save(named, path)
    assert loads(path, state)
    if prefix == "_orig_mod.":
        return
    # What is beside the network has no part in it: a loss, a counter of averages.
    torch.save({**named, "criterion.weight": torch.ones(2), "n_averaged": torch.tensor(1)}, path)
    assert loads(path, state)


def test_a_part_that_was_compiled_is_known(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({k.replace("features.", "features._orig_mod."): v for k, v in state.items()}, path)
    assert loads(path, state)


def test_the_network_comes_before_its_moving_average(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "checkpoint.pth"
    average = {f"module.{key}": tensor + 1 for key, tensor in state.items()}
    torch.save({"model_ema": average, "model": state}, path)
    assert loads(path, state)
    torch.save({**average, **{f"ema.{key}": tensor for key, tensor in state.items()}}, path)
    assert loads(path, {key: tensor + 1 for key, tensor in state.items()})


def test_two_networks_are_not_chosen_among(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"student": state, "teacher": state}, path)
    assert "holds the network 2 times (student, teacher)" in refused(path)
    named = {f"{who}.{k}": v for who in ("student", "teacher") for k, v in state.items()}
    torch.save(named, path)
    assert "holds the network 2 times (student.*, teacher.*)" in refused(path)


@pytest.mark.parametrize("key", [None, "model", "ema"])
def test_a_network_itself_is_named_with_the_line_that_extracts_its_weights(
    tmp_path: Path, key: str | None
) -> None:
    path, network = tmp_path / "network.pth", classifier("mobilenet").network()
    torch.save(network if key is None else {"epoch": 3, key: network}, path)
    message = refused(path)
    assert "holds a network itself (models.mobilenet.network.MobileNet)" in message
    script = message.partition('python -c "')[2].removesuffix('"')
    exec(script.replace("weights.pth", str(tmp_path / "weights.pth")))
    assert loads(tmp_path / "weights.pth", network.state_dict())


def test_a_torchscript_archive_is_read_without_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "script.pt"
    network = classifier("mobilenet").network()
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, 224, 224)), str(path))
    monkeypatch.setattr(torch.jit, "load", None)
    loaded = classifier("mobilenet").load_weights(path).state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded[name], tensor)


def test_a_torchscript_archive_of_another_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))
    assert "unexpected: weight, bias" in refused(path)


@pytest.mark.parametrize("named", ["os.system", "builtins.eval"])
def test_a_torchscript_archive_that_names_other_things_is_refused(
    tmp_path: Path, named: str
) -> None:
    path, other = tmp_path / "script.pt", tmp_path / "other.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))
    module, _, name = named.rpartition(".")
    call = f"c{module}\n{name}\n(X\x04\0\0\0true tR.".replace(" ", "").encode()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for item in old.namelist():
            data = old.read(item)
            new.writestr(item, b"\x80\x02" + call if item.endswith("/data.pkl") else data)
    assert f"names {named}, which is no tensor" in refused(other)


def test_a_damaged_torchscript_archive_is_named(tmp_path: Path) -> None:
    path, other = tmp_path / "script.pt", tmp_path / "other.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for item in old.namelist():
            if "/data/" not in item:
                new.writestr(item, old.read(item))
    assert "a damaged TorchScript archive" in refused(other)


def test_another_pickle_protocol_gives_the_line(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": state}, path, pickle_protocol=4)
    assert "cannot be read without executing it; if you trust it, extract" in refused(path)


def test_tensors_without_numbers_are_refused(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "meta.pth"
    torch.save({**state, "classifier.bias": torch.empty(1001, device="meta")}, path)
    assert "not plain tensors of numbers: classifier.bias" in refused(path)


def test_a_checkpoint_without_a_network_names_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "optimizer.pth"
    torch.save({"epoch": 3, "optimizer": {}}, path)
    assert "holds a dictionary of epoch, optimizer" in refused(path)


def test_safetensors(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    path = tmp_path / "mobilenet.bin"
    safetensors.save_file(state, path)
    loaded = classifier("mobilenet").load_weights(path).state_dict()
    assert torch.equal(loaded["classifier.weight"], state["classifier.weight"])
    path.write_bytes(path.read_bytes()[:5000])
    assert "not a whole safetensors file" in refused(path)
