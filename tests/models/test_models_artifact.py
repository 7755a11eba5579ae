"""Artifact files: what is written is read back, and nothing broken is ever accepted."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from base.errors import InputError
from base.files import written_aside
from models import artifact
from models.artifact import ArtifactError

ARRAYS: dict[str, NDArray[Any]] = {
    "weight": np.arange(-60, 60, dtype=np.int8).reshape(2, 3, 4, 5),
    "scales": np.linspace(0.1, 2, 7, dtype=np.float32),
    "empty": np.zeros((0, 3), np.float32),
}


def write(path: Path) -> None:
    artifact.write(path, "test", {"origin": "here", "n": 3}, ARRAYS)


def written(folder: Path) -> Path:
    path = folder / "one"
    write(path)
    return path


def test_arrays_and_facts_come_back(tmp_path: Path) -> None:
    opened = artifact.read(written(tmp_path), "test")
    assert opened.facts == {"origin": "here", "n": 3}
    assert list(opened.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert opened.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(opened.arrays[name], array)


def test_facts_are_read_from_the_header_alone(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    assert artifact.read_facts(path, "test") == {"origin": "here", "n": 3}
    path.write_bytes(whole[:-100])
    assert artifact.read_facts(path, "test") == {"origin": "here", "n": 3}
    for broken in (whole.replace(b'"n": 3', b'"n": 2'), whole[:60], b""):
        path.write_bytes(broken)
        with pytest.raises(ArtifactError, match=str(path)):
            artifact.read_facts(path, "test")
    with pytest.raises(ArtifactError, match="holds 'test', not 'other'"):
        artifact.read_facts(written(tmp_path), "other")


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifact")


@settings(max_examples=100)
@given(st.data())
def test_no_flipped_bit_goes_unnoticed(folder: Path, data: st.DataObject) -> None:
    path = written(folder)
    damaged = bytearray(path.read_bytes())
    header = int.from_bytes(damaged[8:16], "little") + artifact.HEADER
    # Half of the tries hit the header, which is the smaller part.
    end = data.draw(st.sampled_from([header, len(damaged)]))
    damaged[data.draw(st.integers(0, end - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    try:
        opened = artifact.read(path, "test")
    except ArtifactError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
        return
    # It hit the zeros that fill the header's last page.
    assert opened.facts == {"origin": "here", "n": 3}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(opened.arrays[name], array)


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


def damage(path: Path, how: str) -> None:
    """Put something at `path` that is no whole artifact of the kind "test"."""
    whole = path.read_bytes()
    if how == "another kind":
        artifact.write(path, "other", {}, ARRAYS)
    elif how == "another format":
        path.write_bytes(whole.replace(artifact.MAGIC, b"LOADRUN\x01"))
    elif how == "header":
        path.write_bytes(whole.replace(b'"n": 3', b'"n": 2'))
    elif how == "data":
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif how == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "garbage":
        path.write_bytes(os.urandom(5000))
    elif how == "empty":
        path.write_bytes(b"")


DAMAGES = ("another kind", "another format", "header", "data", "truncated", "garbage", "empty")


@pytest.mark.parametrize("how", DAMAGES)
def test_what_is_damaged_is_built_anew_with_one_notice(tmp_path: Path, how: str) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    damage(path, how)
    notices: list[str] = []
    assert artifact.ensure(path, "test", lambda: write(path), notices.append)
    assert path.read_bytes() == whole
    (notice,) = notices
    assert notice.startswith(f"{path}: ")
    assert notice.endswith(": building it anew")
    assert "\n" not in notice
    assert not artifact.ensure(path, "test", never, notices.append)
    assert len(notices) == 1


def never() -> None:
    raise AssertionError("it is there already")


def test_a_directory_in_its_place_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "one"
    path.mkdir()
    (path / "precious").write_text("not ours")
    with pytest.raises(InputError, match="a directory is where a file belongs") as caught:
        artifact.ensure(path, "test", never, print)
    assert str(path) in str(caught.value)
    assert (path / "precious").exists()


def test_a_failed_build_leaves_what_was_there(tmp_path: Path) -> None:
    path = written(tmp_path)
    damage(path, "data")
    broken = path.read_bytes()

    def build() -> None:
        with written_aside(path) as aside:
            aside.write_bytes(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        artifact.ensure(path, "test", build, lambda text: None)
    assert path.read_bytes() == broken
    assert {p.name for p in tmp_path.iterdir()} == {"one", ".one.lock"}


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose data are hashed from now on."""
    seen: list[Path] = []
    real = artifact._verify

    def verify(mapped: Any) -> None:
        seen.append(mapped.artifact.path)
        real(mapped)

    monkeypatch.setattr(artifact, "_verify", verify)
    return seen


def ensured(folder: Path) -> Path:
    path = folder / "one"
    artifact.ensure(path, "test", lambda: write(path), print)
    return path


def test_data_are_hashed_once_and_not_by_every_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = counted(monkeypatch)
    path = ensured(tmp_path)
    assert seen == [path]
    for _ in range(3):
        artifact.read(path, "test")
        assert not artifact.ensure(path, "test", never, print)
    assert seen == [path]


@pytest.mark.parametrize("how", ["written to", "copied", "another's word", "no word"])
def test_what_may_have_changed_is_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = ensured(tmp_path)
    stamp = tmp_path / ".one.verified"
    assert stamp.exists()
    if how == "written to":
        before = path.stat()
        flipped = bytearray(path.read_bytes())
        flipped[-1] ^= 1
        with path.open("r+b") as file:
            file.write(flipped)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if it had not been
        with pytest.raises(ArtifactError, match="corrupt"):
            artifact.read(path, "test")
        return
    if how == "copied":
        copy = path.read_bytes()
        path.unlink()
        path.write_bytes(copy)
    elif how == "another's word":
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    else:
        stamp.unlink()
    seen = counted(monkeypatch)
    artifact.read(path, "test")
    assert seen == [path]


def test_more_than_2_gib_are_written_piece_by_piece_and_mapped(tmp_path: Path) -> None:
    """A table of 2.2 GiB that views a file with holes."""
    rows, width = 9 << 16, 1 << 12
    if shutil.disk_usage(tmp_path).free < 3 << 30:
        pytest.skip("needs 3 GiB of disk")
    table = np.memmap(tmp_path / "table", np.uint8, "w+", shape=(rows, width))
    table[rows - 1, 7] = 77
    table.flush()
    arrays: dict[str, NDArray[Any]] = {"table": table, "behind": np.arange(5)}
    path = tmp_path / "one"
    assert artifact.ensure(path, "test", lambda: artifact.write(path, "test", {}, arrays), print)
    opened = artifact.read(path, "test")
    assert path.stat().st_size > 2**31
    assert path.stat().st_size > rows * width
    assert opened.arrays["table"].shape == (rows, width)
    assert opened.arrays["table"][rows - 1, 7] == 77
    assert opened.arrays["table"][0, 0] == 0
    np.testing.assert_array_equal(opened.arrays["behind"], np.arange(5))
