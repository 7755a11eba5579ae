"""Which images and labels a folder, a label file and a list mean."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from base.errors import InputError
from models.imagenet.classes import Classes, classes_of
from models.imagenet.dataset import DataSet, image_folder, listed_images
from models.imagenet.labels import CLASSES, read_labels


def tree(root: Path, files: Iterable[str]) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")
    return root


def by_file(data: DataSet) -> dict[str, int]:
    assert data.labels is not None
    names = [file.relative_to(data.root).as_posix() for file in data.files]
    return dict(zip(names, data.labels, strict=True))


SYNSETS = [f"n{1440764 + 7 * n:08}" for n in range(CLASSES)]


@pytest.mark.parametrize(
    ("named", "source"),
    [
        (str, "1000 sub-folders by number"),
        (lambda n: f"{n:04}", "1000 sub-folders by number"),
        (lambda n: f"{n:0{1 + n % 5}}", "1000 sub-folders by number"),
        (SYNSETS.__getitem__, "1000 sub-folders in the order of ImageNet's synsets"),
        (lambda n: f"class_{n}", "1000 sub-folders by the number in their names"),
        (lambda n: f"class-{n:03}", "1000 sub-folders by the number in their names"),
        (lambda n: f"{n} fish{n % 7}", "1000 sub-folders by the number in their names"),
        (lambda n: f"{n:03}_fish", "1000 sub-folders by the number in their names"),
        (
            lambda n: f"fish{chr(97 + n // 40)}{chr(97 + n % 40)}",
            "1000 sub-folders in alphabetical",
        ),
    ],
)
def test_classes_of_a_thousand_folders(named: Callable[[int], str], source: str) -> None:
    found = classes_of([named(n) for n in reversed(range(CLASSES))])
    assert found.source.startswith(source)
    assert found.labels == {named(n): n for n in range(CLASSES)}
    assert found.left_out == ()


def test_numbers_are_labels_however_few() -> None:
    assert classes_of(["207", "3", "012"]) == Classes(
        {"207": 207, "3": 3, "012": 12}, "3 sub-folders by number"
    )


@pytest.mark.parametrize(
    ("folders", "why"),
    [
        ([*map(str, range(1, 1001))], "1000 sub-folders count from 1 to 1000, and labels are 0 to"),
        ([*map(str, range(1001))], "sub-folder '1000' is no label of 0 to 999: move it away"),
        (["1", "2", "9" * 5000], "is no label of 0 to 999"),
        ([*SYNSETS, "n99999999"], "1001 sub-folders .*: move the 1 away that is none, or give"),
        (SYNSETS[1:], "999 sub-folders .*: 1 is missing or without images"),
        ([*(f"fish{n:b}" for n in range(1001))], "1001 sub-folders for 1000 classes: move the 1"),
        (["cats", "dogs"], "2 sub-folders whose names are no labels of 0 to 999"),
    ],
)
def test_folders_that_tell_no_labels_say_why(folders: list[str], why: str) -> None:
    found = classes_of(folders)
    assert found.labels is None
    assert re.search(why, found.source), found.source
    assert "--labels" in found.source


def test_a_number_written_twice_is_refused() -> None:
    with pytest.raises(InputError, match="'007' and '7' are both label 7"):
        classes_of(["007", "7", "8"])


@pytest.mark.parametrize(
    "names", [SYNSETS, [*map(str, range(CLASSES))]], ids=["synsets", "numbers"]
)
def test_what_is_no_class_beside_a_thousand_is_left_out(tmp_path: Path, names: list[str]) -> None:
    tree(tmp_path, [f"{name}/x_{name}.JPEG" for name in names])
    tree(tmp_path, ["stray.png", "thumbs/a.jpg", "thumbs/b.jpg", ".hidden/c.jpg", "__MACOSX/d.jpg"])
    data = image_folder(tmp_path)
    assert by_file(data) == {f"{name}/x_{name}.JPEG": n for n, name in enumerate(names)}
    stray, thumbs = data.notes
    assert stray == "1 image is not served, 'stray.png'"
    assert thumbs.startswith("2 images are not served, in sub-folders that are no classes")


def test_a_few_images_beside_many_in_folders_hide_nothing_and_the_other_way_round(
    tmp_path: Path,
) -> None:
    folders = tree(tmp_path / "a", ["cover.png", "cats/1.jpg", "cats/2.jpg", "dogs/1.jpg"])
    data = image_folder(folders)
    assert [f.relative_to(folders).as_posix() for f in data.files] == [
        *("cats/1.jpg", "cats/2.jpg", "dogs/1.jpg")
    ]
    assert data.labels is None
    flat = tree(tmp_path / "b", ["1.jpg", "2.jpg", "3.jpg", "7/1.jpg"])
    data = image_folder(flat)
    assert [f.name for f in data.files] == ["1.jpg", "2.jpg", "3.jpg"]
    assert data.notes == ("1 image is not served, '7/1.jpg'",)
    assert "val_map.txt" in data.labels_from


@pytest.mark.parametrize("around", ["val", "imagenet/val", "a/b/c"])
def test_an_archive_s_extra_folders_are_looked_through(tmp_path: Path, around: str) -> None:
    numbers = tree(tmp_path / "numbers", [f"{around}/{n}/x.jpg" for n in (10, 2)])
    tree(numbers, ["readme.txt", "devkit/readme.txt", "logo.png"])
    assert by_file(image_folder(numbers)) == {f"{around}/2/x.jpg": 2, f"{around}/10/x.jpg": 10}
    flat = tree(tmp_path / "flat", [f"{around}/a.jpg", f"{around}/b.jpg"])
    assert [f.name for f in image_folder(flat).files] == ["a.jpg", "b.jpg"]
    for place in (flat, flat / around):
        (place / "val_map.txt").write_text("b.jpg 7\n")
        data = image_folder(flat)
        assert by_file(data) == {f"{around}/b.jpg": 7}
        assert data.labels_from == str(place / "val_map.txt")
        (place / "val_map.txt").unlink()


def test_a_folder_of_one_class_is_no_wrapper(tmp_path: Path) -> None:
    assert by_file(image_folder(tree(tmp_path, ["207/a.jpg"]))) == {"207/a.jpg": 207}


def test_a_folder_of_several_data_sets_names_one(tmp_path: Path) -> None:
    tree(tmp_path, ["train/1/a.jpg", "train/2/a.jpg", "val/1/a.jpg"])
    with pytest.raises(InputError, match=rf"but folders that do: .* such as {tmp_path}/train$"):
        image_folder(tmp_path)


def test_a_folder_that_may_not_be_read_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lost+found of a mount; a class must not go missing like that."""
    real = os.scandir

    def scandir(path: Path) -> object:
        if path.name in ("lost+found", "12"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    tree(tmp_path, ["a.jpg", "lost+found/b.jpg"])
    assert [f.name for f in image_folder(tmp_path).files] == ["a.jpg"]
    tree(tmp_path, ["12/b.jpg"])
    with pytest.raises(InputError, match="12: not a folder of images"):
        image_folder(tmp_path)


def test_a_name_in_two_sub_folders_must_say_which(tmp_path: Path) -> None:
    tree(tmp_path, ["a/x.jpg", "b/x.jpg", "b/y.jpg"])
    labels = tmp_path / "labels.txt"
    labels.write_text("y.jpg 1\nx.jpg 5\n")
    with pytest.raises(InputError, match=r"'x\.jpg' is in 2 sub-folders \(a/x\.jpg, b/x\.jpg\)"):
        image_folder(tmp_path)
    labels.write_text("y.jpg 1\nb/x.jpg 5\na/x.jpg 6\n")
    assert by_file(image_folder(tmp_path)) == {"b/y.jpg": 1, "b/x.jpg": 5, "a/x.jpg": 6}
    labels.write_text("y.jpg 1\nb/y.jpg 5\n")
    with pytest.raises(InputError, match=r"'y\.jpg' and 'b/y\.jpg' are the same image"):
        image_folder(tmp_path)
    labels.unlink()
    names = tmp_path / "list.txt"
    names.write_text("x.jpg 0\n")
    with pytest.raises(InputError, match="is in 2 sub-folders"):
        listed_images(tmp_path, names)


@pytest.mark.parametrize(
    "prefix",
    ["", "val/", "./", "./val/", "imagenet/val/", "../imagenet/val/", "{root}/", "val//"],
)
@pytest.mark.parametrize("layout", ["x.JPEG", "n01440764/x.JPEG"])
def test_names_may_have_the_folder_in_front(tmp_path: Path, prefix: str, layout: str) -> None:
    root = tree(tmp_path / "imagenet/val", [layout, "n01440764/y.JPEG", "n01443537/z.JPEG"])
    names = tmp_path / "lists/names.txt"
    names.parent.mkdir()
    for given in (layout, "x.JPEG"):
        name = prefix.format(root=root) + given
        names.write_text(f"{name} 0\n")
        assert listed_images(root, names).files == [root / layout]
        names.write_text(f"{name} 12\n")
        assert by_file(image_folder(root, names)) == {layout: 12}


def test_another_folder_in_front_is_another_image(tmp_path: Path) -> None:
    root = tree(tmp_path / "val", ["3/0001.png", "4/0002.png"])
    names = tmp_path / "names.txt"
    for other in ("train/3/0001.png", "5/0001.png", "../val2/3/0001.png", "/val/3/0001.png"):
        names.write_text(f"{other} 1\n")
        with pytest.raises(InputError, match="1 of 1 images are not in"):
            listed_images(root, names)
        with pytest.raises(InputError, match="1 of 1 images are not in"):
            image_folder(root, names)


NAMES = ["a b.JPEG", "great white shark/x  y (1).JPEG", " leading.JPEG", "no\u00a0break.JPEG"]


@pytest.mark.parametrize("gap", [" ", "\t", "   "])
def test_names_may_have_blanks(tmp_path: Path, gap: str) -> None:
    root = tree(tmp_path / "my images", NAMES)
    names = tmp_path / "names.txt"
    names.write_text("".join(f"{name}{gap}{n}\n" for n, name in enumerate(NAMES)), "utf-8")
    assert by_file(image_folder(root, names)) == {name: n for n, name in enumerate(NAMES)}
    assert listed_images(root, names).files == [root / name for name in NAMES]
    names.write_text("".join(f"my images/{name}\n" for name in NAMES), "utf-8")
    assert listed_images(root, names).files == [root / name for name in NAMES]
    names.write_text("a b.JPEG and more words 3\nx y.JPEG 2\n")
    with pytest.raises(InputError, match=r"1 of 2 images are not in .* \(first: 'x y\.JPEG'\)"):
        listed_images(root, names)


@pytest.mark.parametrize("line", ["x.JPEG 1 65", "x y 5", "x.JPEG 5 fish", "5"])
def test_a_third_field_is_no_part_of_a_name(tmp_path: Path, line: str) -> None:
    file = tmp_path / "labels.txt"
    file.write_text(f"{line}\n")
    with pytest.raises(InputError, match=r":1: .* is not `name label`"):
        read_labels(file)
