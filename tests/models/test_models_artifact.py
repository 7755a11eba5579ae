"""Artifact files: what is written is read back, and nothing broken is ever accepted."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models import artifact
from models.artifact import ArtifactError

ARRAYS: dict[str, NDArray[Any]] = {
    "weight": np.arange(-60, 60, dtype=np.int8).reshape(2, 3, 4, 5),
    "scales": np.linspace(0.1, 2, 7, dtype=np.float32),
    "empty": np.zeros((0, 3), np.float32),
}


def written(folder: Path) -> Path:
    path = folder / "one"
    artifact.write(path, "test", {"origin": "here", "n": 3}, ARRAYS)
    return path


def test_arrays_and_facts_come_back(tmp_path: Path) -> None:
    opened = artifact.read(written(tmp_path), "test")
    assert opened.facts == {"origin": "here", "n": 3}
    assert list(opened.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert opened.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(opened.arrays[name], array)


def test_arrays_are_read_only_and_on_cache_lines(tmp_path: Path) -> None:
    for array in artifact.read(written(tmp_path), "test").arrays.values():
        assert not array.flags.writeable
        assert array.size == 0 or array.ctypes.data % 64 == 0


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    written(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["one"]


def test_every_flipped_byte_of_the_data_is_found(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for offset in (4096, 4096 + 63, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[offset] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match="corrupt"):
            artifact.read(path, "test")


@pytest.mark.parametrize("length", [0, 5, 16, 40, 4096, 4100])
def test_a_truncated_file_is_refused(tmp_path: Path, length: int) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ArtifactError, match=str(path)):
        artifact.read(path, "test")


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise"
    for seed in range(20):
        noise = hashlib.sha256(bytes([seed])).digest() * 300
        for head in (b"", artifact.MAGIC, artifact.MAGIC + (100).to_bytes(8, "little")):
            path.write_bytes(head + noise)
            with pytest.raises(ArtifactError):
                artifact.read(path, "test")


def test_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds 'test', not 'other'"):
        artifact.read(written(tmp_path), "other")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="absent"):
        artifact.read(tmp_path / "absent", "test")
