"""Checksums of images see every change, and are not taken anew without one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from classifier_samples import prepare_samples
from PIL import Image

from base import unchanged
from base.errors import InputError
from models.imagenet import content
from models.imagenet.classifier import classifier
from models.imagenet.content import content_of
from models.imagenet.dataset import image_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "images"
    place.mkdir()
    for i in range(6):
        (place / f"{i}.jpg").write_bytes(b"%6d" % i)
    return place


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as left alone at once."""
    monkeypatch.setattr(unchanged, "SETTLED_NS", 0)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that are read."""
    names: list[str] = []
    real = unchanged.file_digest

    def counting(file: Path) -> bytes:
        names.append(file.name)
        return real(file)

    monkeypatch.setattr(content, "file_digest", counting)
    return names


def in_place(file: Path, text: bytes) -> None:
    file.write_bytes(text)


def in_place_with_its_times(file: Path, text: bytes) -> None:
    """As rsync -t --inplace and cp -p do."""
    before = file.stat()
    while file.stat().st_ctime_ns == before.st_ctime_ns:  # the clock of the file system may be slow
        file.write_bytes(text)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def another_file_with_its_times(file: Path, text: bytes) -> None:
    before = file.stat()
    aside = file.with_suffix(".new")
    aside.write_bytes(text)
    os.utime(aside, ns=(before.st_atime_ns, before.st_mtime_ns))
    aside.replace(file)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("change", [in_place, in_place_with_its_times, another_file_with_its_times])
def test_a_change_of_one_image_is_seen_and_only_that_one_read(
    tmp_path: Path, folder: Path, reads: list[str], change: Callable[[Path, bytes], None]
) -> None:
    data = image_folder(folder)
    before = content_of(data, tmp_path)
    assert len(reads) == 6
    assert content_of(data, tmp_path) == before
    assert len(reads) == 6
    change(folder / "3.jpg", b"repair")
    after = content_of(data, tmp_path)
    assert after.sha256 != before.sha256
    assert [a == b for a, b in zip(after.digests, before.digests, strict=True)].count(False) == 1
    assert reads[6:] == ["3.jpg"]


def test_what_was_just_written_is_read_again(
    tmp_path: Path, folder: Path, reads: list[str]
) -> None:
    """It may change once more within the resolution of the file system's clock."""
    data = image_folder(folder)
    content_of(data, tmp_path)
    content_of(data, tmp_path)
    assert len(reads) == 12


@pytest.mark.usefixtures("settled")
def test_images_are_told_apart_by_content_alone(tmp_path: Path) -> None:
    for name, place in (("x.jpg", "a"), ("x.jpg", "b")):
        (tmp_path / place).mkdir()
        (tmp_path / place / name).write_bytes(f"in {place}".encode())
    a, b = (image_folder(tmp_path / place) for place in "ab")
    first, second = content_of(a, tmp_path / "cache"), content_of(b, tmp_path / "cache")
    assert first.sha256 != second.sha256
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    (tmp_path / "c/x.jpg").rename(tmp_path / "c/other.jpg")
    assert content_of(image_folder(tmp_path / "c"), tmp_path / "cache") == first
    assert first.with_labels([1]) != first.with_labels([2])
    assert first.with_labels(None) not in (first.with_labels([1]), second.with_labels(None))


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text[:-9] + bytes([text[-9] ^ 1]) + text[-8:],
        lambda text: text.replace(b'"version": 1', b'"version": 0'),
        lambda text: b"",
        lambda text: b"[]\n[]",
    ],
)
def test_a_damaged_index_is_done_without(
    tmp_path: Path, folder: Path, reads: list[str], damage: Callable[[bytes], bytes]
) -> None:
    data = image_folder(folder)
    before = content_of(data, tmp_path)
    (index,) = (tmp_path / "hashes").iterdir()
    index.write_bytes(damage(index.read_bytes()))
    assert content_of(data, tmp_path) == before
    assert content_of(data, tmp_path) == before
    assert len(reads) == 12


@pytest.mark.usefixtures("settled")
def test_an_index_that_cannot_be_written_is_done_without(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "hashes").write_text("a file where the folder belongs")
    assert content_of(image_folder(folder), tmp_path) == content_of(image_folder(folder), folder)


@pytest.mark.usefixtures("settled")
def test_parts_of_a_folder_share_its_index_and_names_may_be_any_bytes(
    tmp_path: Path, folder: Path, reads: list[str]
) -> None:
    (folder / os.fsdecode(b"caf\xe9 1.jpg")).write_bytes(b"e")
    data = image_folder(folder)
    content_of(data.spread(2), tmp_path)
    content_of(data, tmp_path)
    content_of(data.spread(3), tmp_path)
    assert len(reads) == 7
    (folder / "0.jpg").unlink()
    (folder / "1.jpg").write_bytes(b"another")
    content_of(image_folder(folder), tmp_path)
    (index,) = (tmp_path / "hashes").iterdir()
    assert b'"0.jpg"' not in index.read_bytes()


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for i in range(count):
        Image.new("RGB", (240, 230), (10 * i, 0, 0)).save(folder / f"{i}.png", compress_level=0)
    return folder


def first_pixels(path: Path) -> list[int]:
    interior = classifier("mobilenet").sample.interior(np.load(path / "pixels.npy"))
    reds: list[int] = interior[:, 0, 0, 0].tolist()
    return reds


@pytest.mark.usefixtures("settled")
def test_samples_of_images_repaired_in_place_are_made_anew(tmp_path: Path) -> None:
    model, images, cache = classifier("mobilenet"), pictures(tmp_path / "val", 3), tmp_path / "c"
    before = prepare_samples(model, image_folder(images), cache)
    size = (images / "1.png").stat().st_size
    Image.new("RGB", (240, 230), (200, 0, 0)).save(images / "1.png", compress_level=0)
    assert (images / "1.png").stat().st_size == size
    after = prepare_samples(model, image_folder(images), cache)
    assert (first_pixels(before.path), first_pixels(after.path)) == ([0, 10, 20], [0, 200, 20])
    assert before.sha256 != after.sha256


def test_a_repaired_image_of_another_size_is_all_that_is_left_to_do(tmp_path: Path) -> None:
    model, images, cache = classifier("mobilenet"), pictures(tmp_path / "val", 3), tmp_path / "c"
    (images / "1.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"1\.png: not an image"):
        prepare_samples(model, image_folder(images), cache)
    Image.new("RGB", (300, 230), (200, 0, 0)).save(images / "1.png")
    calls: list[tuple[int, int]] = []
    made = prepare_samples(model, image_folder(images), cache, lambda *call: calls.append(call))
    assert calls[0] == (2, 3)
    assert first_pixels(made.path) == [0, 200, 20]


def test_what_an_interruption_left_is_kept_only_of_the_same_images(tmp_path: Path) -> None:
    model, images, cache = classifier("mobilenet"), pictures(tmp_path / "val", 3), tmp_path / "c"
    (images / "1.png").write_bytes(b"broken")
    with pytest.raises(InputError):
        prepare_samples(model, image_folder(images), cache)
    Image.new("RGB", (240, 230), (90, 0, 0)).save(images / "0.png", compress_level=0)
    Image.new("RGB", (240, 230), (200, 0, 0)).save(images / "1.png", compress_level=0)
    assert first_pixels(prepare_samples(model, image_folder(images), cache).path) == [90, 200, 20]


def test_an_image_that_changes_while_it_is_preprocessed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images, cache = classifier("mobilenet"), pictures(tmp_path / "val", 3), tmp_path / "c"
    real = type(model).preprocess

    def changing(self: object, path: Path) -> object:
        sample = real(model, path)
        if path.name == "1.png":
            Image.new("RGB", (240, 230), (200, 0, 0)).save(path, compress_level=0)
        return sample

    with monkeypatch.context() as patch:
        patch.setattr(type(model), "preprocess", changing)
        with pytest.raises(InputError, match=r"1\.png: changed while it was read"):
            prepare_samples(model, image_folder(images), cache)
    assert first_pixels(prepare_samples(model, image_folder(images), cache).path) == [0, 200, 20]


@pytest.mark.usefixtures("settled")
def test_a_file_system_that_keeps_no_times_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images, cache = classifier("mobilenet"), pictures(tmp_path / "val", 3), tmp_path / "c"
    with monkeypatch.context() as patch:
        patch.setattr(content, "facts_of", lambda file: (1, 2, 3, 4))
        data = image_folder(images)
        content_of(data, cache)
        Image.new("RGB", (240, 230), (200, 0, 0)).save(images / "1.png", compress_level=0)
        with pytest.raises(InputError, match=r"1\.png: changed while it was read"):
            prepare_samples(model, data, cache)
        assert first_pixels(prepare_samples(model, data, cache).path) == [0, 200, 20]
