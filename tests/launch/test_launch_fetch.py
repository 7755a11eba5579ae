"""Data sets from a local server, archives among them, and where runs then find them."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from toys import TOY

import models
from base.errors import InputError
from launch.build.cache import cache_directory
from launch.build.places import data_folder, in_scratch, weights_folder
from launch.build.unpack import is_unpacked, unpack
from launch.cli import main
from launch.options import Sources, find_sources
from models.detection.folders import OPENIMAGES
from models.published import DataFolder, PublishedFile
from models.volumes.folders import KITS19

IMAGES = {f"{name}.jpg": name.encode() * 300 for name in ("one", "two", "three")}


class Handler(http.server.SimpleHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def log_message(self, *words: object) -> None:
        """Note what was asked for."""
        self.asked.append(self.path)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that is served, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    Handler.asked.clear()
    handler = partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    monkeypatch.setenv("MLPERF_SCRATCH_PATH", str(folder))
    for name in ("LOADRUN_CACHE", "LOADRUN_WEIGHTS", "LOADRUN_DATA", "LOADRUN_IMAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(models.TASKS, "toy", "toys:TOY")
    return folder


def zipped(path: Path, files: dict[str, bytes]) -> str:
    """Write an archive; returns its checksum."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return "md5:" + hashlib.md5(path.read_bytes()).hexdigest()


def test_an_archive_then_the_files_that_it_names(
    served: tuple[Path, str],
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, url = served
    for name, content in IMAGES.items():
        (folder / name).write_bytes(content)
    listed = json.dumps({"images": [*IMAGES]}).encode()
    checksum = zipped(folder / "a.zip", {"annotations/list.json": listed, "a/b.txt": b"b"})

    def images(place: Path) -> list[PublishedFile]:
        names = json.loads((place / "annotations/list.json").read_bytes())["images"]
        return [PublishedFile(f"val/{name}", f"{url}/{name}", "an image") for name in names]

    dataset = DataFolder(
        "pictures",
        "Pictures",
        {"data": "val"},
        (PublishedFile("a.zip", f"{url}/a.zip", "annotations", checksum, unpacks_to=""),),
        images,
    )
    monkeypatch.setattr(TOY, "dataset", dataset)
    place = scratch / "data" / "pictures"
    # What an earlier call was killed with is not got again.
    (place / "val").mkdir(parents=True)
    (place / "val/two.jpg").write_bytes(IMAGES["two.jpg"])
    assert main(["fetch", "toy", "--data"]) == 0
    said = capsys.readouterr().out
    assert {f"/{name}" for name in IMAGES} - {"/two.jpg"} | {"/a.zip"} == {*Handler.asked}
    assert {path.name: path.read_bytes() for path in (place / "val").iterdir()} == IMAGES
    assert (place / "a/b.txt").read_bytes() == b"b"
    assert not (place / "a.zip").exists()
    assert "checksum right" in said
    assert "3 files, 2 of them new" in said
    assert said.endswith(f"use it: loadrun run toy --data {place / 'val'}\n")
    Handler.asked.clear()
    assert main(["fetch", "toy", "--data"]) == 0
    assert Handler.asked == []
    assert "already there, unpacked: a.zip" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_an_archive_writes_nothing_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    zipped(folder / name, {"in.txt": b"in", "../out.txt": b"out"})
    with pytest.raises(InputError, match=r"holds '../out.txt', outside of its folder"):
        unpack(PublishedFile(name, "", "", unpacks_to="x"), folder)
    assert not (tmp_path / "out.txt").exists()
    assert not (folder / "x").exists()


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_damaged_archive_is_one_line_and_a_whole_one_is_unpacked_once(
    tmp_path: Path, name: str
) -> None:
    file = PublishedFile(name, "http://x/a", "", unpacks_to="x")
    (tmp_path / name).write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack(file, tmp_path)
    zipped(tmp_path / name, {"sub/in.txt": b"in"})
    unpack(file, tmp_path)
    assert (tmp_path / "x/sub/in.txt").read_bytes() == b"in"
    assert is_unpacked(file, tmp_path)
    assert not is_unpacked(PublishedFile(name, "http://x/b", "", unpacks_to="x"), tmp_path)


def test_a_licence_is_named_with_the_place(
    scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", "resnet50", "--data"]) == 2
    line = capsys.readouterr().err
    assert "its licence must be accepted, so that it is not downloaded: ask for access at" in line
    assert f"all in {scratch / 'data/imagenet'} (missing: val, val_map.txt, calibration*)" in line
    assert line.count("\n") == 1
    assert main(["fetch", "resnet50", "--list"]) == 0
    assert "data: ImageNet's validation set" in capsys.readouterr().out


def test_weights_come_with_what_belongs_beside_them(
    served: tuple[Path, str],
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, url = served
    for name in ("w.pth", "vocab.txt", "more.pth"):
        (folder / name).write_text(name)
    files = [PublishedFile(name, f"{url}/{name}", name) for name in ("w.pth", "more.pth")]
    beside = PublishedFile("vocab.txt", f"{url}/vocab.txt", "vocabulary", beside=True)
    monkeypatch.setattr(TOY, "published", (*files, beside))
    assert main(["fetch", "toy"]) == 0
    place = scratch / "models" / "toy"
    assert sorted(path.name for path in place.glob("[a-z]*")) == ["vocab.txt", "w.pth"]
    assert "no checksum is published" in capsys.readouterr().out
    assert find_sources(TOY, {}).weights == place / "w.pth"


def test_what_stands_in_scratch_is_what_runs_use(scratch: Path, tmp_path: Path) -> None:
    resnet50 = models.get("resnet50")
    assert cache_directory() == scratch / "preprocessed_data/loadrun"
    assert find_sources(resnet50, {}).served is None
    place, weights = data_folder("imagenet"), weights_folder(resnet50)
    for path in (place / "val", place / "calibration", weights, tmp_path / "mine"):
        path.mkdir(parents=True)
    (place / "val_map.txt").touch()
    (weights / "mine.safetensors").touch()
    found = find_sources(resnet50, {})
    assert (found.images, found.task["labels"]) == (place / "val", place / "val_map.txt")
    assert (found.weights, found.calibration) == (
        weights / "mine.safetensors",
        place / "calibration",
    )
    # A published file wins, and of others no one does.
    (weights / "resnet50_v1.onnx").touch()
    assert find_sources(resnet50, {}).weights == weights / "resnet50_v1.onnx"
    # Data of the user's own have labels and calibration of their own.
    mine = find_sources(resnet50, {"images": str(tmp_path / "mine")})
    assert (mine.images, mine.task["labels"]) == (tmp_path / "mine", None)
    assert mine.calibration is None
    assert mine.weights is not None
    (weights / "resnet50_v1.onnx").unlink()
    (weights / "other.pth").touch()
    with pytest.raises(InputError, match=r"mine.safetensors and other.pth: choose one with --weig"):
        find_sources(resnet50, {})
    assert in_scratch(resnet50, {}) == {}


def test_the_places_of_data_are_options_of_a_run() -> None:
    for name in models.names():
        dataset = models.get(name).dataset
        assert dataset is not None, name
        assert {*dataset.places} <= {*Sources.options()}, name
        assert dataset.files or dataset.listed or dataset.terms, name


def test_the_cases_of_kits19_are_listed_without_the_copy(tmp_path: Path) -> None:
    assert KITS19.listed is not None
    files = {file.name: file.url for file in KITS19.listed(tmp_path)}
    assert len(files) == 2 * (42 + 20)
    assert files["data/case_00185/imaging.nii.gz"].endswith("/master_00185.nii.gz")
    assert files["data/case_00050/segmentation.nii.gz"].endswith("case_00050/segmentation.nii.gz")
    assert not any("00400" in name for name in files)


def test_the_images_of_openimages_are_those_of_its_annotations(tmp_path: Path) -> None:
    assert OPENIMAGES.listed is not None
    with pytest.raises(InputError, match="No such file"):
        OPENIMAGES.listed(tmp_path)
    place = tmp_path / OPENIMAGES.places["annotations"]
    place.parent.mkdir()
    place.write_text(json.dumps({"images": [{"file_name": "../ab.jpg"}]}))
    (image,) = OPENIMAGES.listed(tmp_path)
    assert image.name == "validation/data/ab.jpg"
    assert image.url.endswith("/validation/ab.jpg")
