import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from classifier_samples import prepare_samples
from PIL import Image

from base.errors import InputError
from base.files import folder_written_aside, written_aside
from models.imagenet.classifier import classifier, classifiers
from models.imagenet.dataset import image_folder, listed_images

TESTS = Path(__file__).parents[1]
ENVIRONMENT = {"PYTHONPATH": f"{TESTS.parent}:{TESTS / 'support'}"}
COUNT = 40  # more than one chunk of work


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for i in range(COUNT):
        Image.new("RGB", (240, 230), (i, 0, 255 - i)).save(folder / f"{i:02d}.png")
    lines = [f"{i:02d}.png {i * 10}\n" for i in reversed(range(COUNT))]
    (folder / "val_map.txt").write_text("".join(lines))
    return folder


def test_order_and_labels_are_the_label_file_s(images: Path) -> None:
    dataset = image_folder(images)
    assert [file.name for file in dataset.files[:2]] == ["39.png", "38.png"]
    assert dataset.labels is not None
    assert dataset.labels[:2] == [390, 380]
    assert (len(dataset), dataset.synthetic) == (COUNT, False)


def test_a_sub_folder_for_each_class(tmp_path: Path) -> None:
    for number in range(1000):
        folder = tmp_path / f"n{number:08d}"
        folder.mkdir()
        (folder / f"val_{999 - number}.JPEG").write_bytes(b"x")
    dataset = image_folder(tmp_path)
    assert dataset.labels == list(range(1000))
    assert dataset.files[7] == tmp_path / "n00000007" / "val_992.JPEG"
    # A label file may name them by their last part, as the flat layout's, or with the folder.
    labels = tmp_path / "val.txt"
    labels.write_text("val_0.JPEG 3\nn00000002/val_997.JPEG 4\n")
    dataset = image_folder(tmp_path)
    assert dataset.labels == [3, 4]
    assert dataset.files == [tmp_path / "n00000999/val_0.JPEG", tmp_path / "n00000002/val_997.JPEG"]
    shutil.rmtree(tmp_path / "n00000000")
    labels.unlink()
    assert image_folder(tmp_path).labels is None


def test_folder_without_labels(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.JPEG", "notes.md"):
        (tmp_path / name).write_bytes(b"x")
    dataset = image_folder(tmp_path)
    assert [file.name for file in dataset.files] == ["a.JPEG", "b.jpg"]
    assert dataset.labels is None


def test_an_evenly_spread_part_is_a_data_set_of_its_own(images: Path) -> None:
    dataset = image_folder(images)
    part = dataset.spread(4)
    assert [file.name for file in part.files] == ["39.png", "29.png", "19.png", "09.png"]
    assert part.labels == [390, 290, 190, 90]
    assert dataset.spread(COUNT) == dataset
    assert dataset.spread(COUNT - 1).files == dataset.files[:-1]


def test_a_list_chooses_images(tmp_path: Path, images: Path) -> None:
    """MLPerf's second list has a number behind each name."""
    names = tmp_path / "cal_image_list_option_2.txt"
    names.write_text("07.png 0\n03.png 1\n07.png 2\n\n")
    chosen = listed_images(images, names)
    assert [file.name for file in chosen.files] == ["07.png", "03.png"]
    assert (chosen.labels, chosen.name) == (None, "cal_image_list_option_2")
    names.write_text("07.png\nILSVRC2012_val_00027145.JPEG\n")
    with pytest.raises(InputError, match=r"1 of 2 images are not in .*ILSVRC2012_val_00027145"):
        listed_images(images, names)
    names.write_text("\n")
    with pytest.raises(InputError, match="names no images"):
        listed_images(images, names)


def test_folder_errors_name_what_is_wrong(tmp_path: Path, images: Path) -> None:
    with pytest.raises(InputError, match="no such folder of images"):
        image_folder(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no images"):
        image_folder(tmp_path)
    labels = tmp_path / "more.txt"
    labels.write_text("00.png 1\n77.png 2\n")
    with pytest.raises(InputError, match=r"1 of 2 images are not in .* \(first: '77\.png'\)"):
        image_folder(images, labels)


@pytest.fixture(scope="module")
def prepared_once(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """A cache with the images preprocessed for resnet50; whoever changes it copies it."""
    cache = tmp_path_factory.mktemp("cache")
    prepare_samples(classifier("resnet50"), image_folder(images), cache)
    return cache


@pytest.mark.parametrize("name", classifiers())
def test_samples_are_the_preprocessed_images(tmp_path: Path, images: Path, name: str) -> None:
    model, dataset = classifier(name), image_folder(images)
    calls: list[tuple[int, int]] = []
    prepared = prepare_samples(model, dataset, tmp_path, lambda *call: calls.append(call))
    samples = prepared.open()
    assert samples.shape == (COUNT, *model.sample.shape)
    assert np.array_equal(samples[7], model.preprocess(dataset.files[7]))
    assert model.sample.interior(samples)[:, 0, 0, 0].tolist() == list(reversed(range(COUNT)))
    assert (prepared.labels, prepared.count) == (dataset.labels, COUNT)
    assert (calls[0], calls[-1]) == ((0, COUNT), (COUNT, COUNT))
    assert calls == sorted(calls)
    before = prepared.path.stat()
    assert prepare_samples(model, dataset, tmp_path, _unexpected) == prepared
    assert prepared.path.stat().st_ino == before.st_ino


def _unexpected(done: int, total: int) -> None:
    raise AssertionError(f"built again: {done} of {total}")


@pytest.mark.parametrize("damage", ["truncated", "changed", "other", "no facts"])
def test_unusable_cache_is_built_again(
    tmp_path: Path,
    images: Path,
    prepared_once: Path,
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, dataset = classifier("resnet50"), image_folder(images)
    shutil.copytree(prepared_once, tmp_path, dirs_exist_ok=True)
    path = prepare_samples(model, dataset, tmp_path, _unexpected).path
    pixels = path / "pixels.npy"
    whole = pixels.read_bytes()
    middle = len(whole) // 2
    if damage == "truncated":
        pixels.write_bytes(whole[:middle])
    elif damage == "changed":
        pixels.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    elif damage == "other":
        np.save(pixels, np.zeros((3, 4), np.uint8))
    else:
        (path / "facts.json").unlink()
    prepare_samples(model, dataset, tmp_path)
    assert pixels.read_bytes() == whole
    assert str(path) in caplog.text
    assert "building them again" in caplog.text


def test_bad_images_are_named_and_leave_nothing(tmp_path: Path) -> None:
    folder, cache = tmp_path / "images", tmp_path / "cache"
    folder.mkdir()
    for i in range(COUNT):
        (folder / f"{i:02d}.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"images/00\.jpg: not an image.*39 more of 40 .* see "):
        prepare_samples(classifier("resnet50"), image_folder(folder), cache)
    (report,) = [p for p in (cache / "samples").iterdir() if not p.name.endswith(".lock")]
    assert len(report.read_text().splitlines()) == COUNT


def test_the_good_images_are_not_preprocessed_again(
    tmp_path: Path, images: Path, prepared_once: Path
) -> None:
    folder, cache = tmp_path / "images", tmp_path / "cache"
    shutil.copytree(images, folder)
    model = classifier("resnet50")
    size = (folder / "05.png").stat().st_size
    good = (folder / "05.png").read_bytes()
    (folder / "05.png").write_bytes(b"x" * size)
    with pytest.raises(InputError, match=r"images/05\.png: not an image"):
        prepare_samples(model, image_folder(folder), cache)
    (folder / "05.png").write_bytes(good)
    calls: list[tuple[int, int]] = []
    prepared = prepare_samples(model, image_folder(folder), cache, lambda *call: calls.append(call))
    assert calls[0] == (COUNT - 1, COUNT)
    assert calls[-1] == (COUNT, COUNT)
    expected = prepare_samples(model, image_folder(images), prepared_once, _unexpected).open()
    assert np.array_equal(prepared.open(), expected)
    kept = [p for p in (cache / "samples").iterdir() if not p.name.endswith(".lock")]
    assert kept == [prepared.path]


def test_an_interrupted_preprocessing_goes_on(tmp_path: Path, images: Path) -> None:
    """Killed after the first chunk, in the middle of the next."""
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from models.imagenet.classifier import classifier\n"
        "from models.imagenet.dataset import image_folder\n"
        "from classifier_samples import prepare_samples\n"
        "def kill(done, total):\n"
        "    if done:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "if __name__ == '__main__':\n"
        "    data = image_folder(Path(sys.argv[1]))\n"
        "    prepare_samples(classifier('resnet50'), data, Path(sys.argv[2]), kill)\n"
    )
    script = tmp_path / "build.py"
    script.write_text(program)
    command = [sys.executable, str(script), str(images), str(tmp_path / "cache")]
    assert subprocess.run(command, env=ENVIRONMENT).returncode == -signal.SIGKILL
    calls: list[tuple[int, int]] = []
    model, dataset = classifier("resnet50"), image_folder(images)
    prepared = prepare_samples(model, dataset, tmp_path / "cache", lambda *call: calls.append(call))
    assert 1 <= calls[0][0] < COUNT
    for i, file in enumerate(dataset.files):
        assert np.array_equal(prepared.open()[i], model.preprocess(file))


def test_processes_that_build_at_once_agree(tmp_path: Path, images: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from models.imagenet.classifier import classifier\n"
        "from models.imagenet.dataset import image_folder\n"
        "from classifier_samples import prepare_samples\n"
        "if __name__ == '__main__':\n"
        "    built = []\n"
        "    data = image_folder(Path(sys.argv[1]))\n"
        "    model = classifier('mobilenet')\n"
        "    prepare_samples(model, data, Path(sys.argv[2]), lambda *c: built.append(c))\n"
        "    print(bool(built))\n"
    )
    script = tmp_path / "build.py"
    script.write_text(program)
    command = [sys.executable, str(script), str(images), str(tmp_path / "cache")]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
        for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=50)[0].strip() for process in processes)
    assert said == ["False", "True"]


def test_files_and_folders_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), written_aside(tmp_path / "file") as aside:
        aside.write_text("half")
        raise RuntimeError
    with pytest.raises(RuntimeError), folder_written_aside(tmp_path / "folder") as aside:
        (aside / "file").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with written_aside(tmp_path / "file") as aside:
        aside.write_text("whole")
        assert not (tmp_path / "file").exists()
    assert (tmp_path / "file").read_text() == "whole"
