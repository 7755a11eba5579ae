"""Data sets for detection: layouts, preprocessing, bad input, and mAP of known answers."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from base.errors import InputError
from models.detection.answers import Detections
from models.detection.retinanet import RETINANET
from models.detection.ssd_mobilenet import SSD_MOBILENET, SSD_MOBILENET_V2
from models.detection.ssd_resnet34 import SSD_RESNET34
from models.detection.task import DetectionTask
from models.task import Sources

cv2 = pytest.importorskip("cv2", reason="the extra `detection` is not installed")
pytest.importorskip("pycocotools", reason="the extra `detection` is not installed")

SIZES = [(60, 80), (100, 50)]
"""Height and width of the images."""


def content(categories: int = 264, first: int = 0) -> dict[str, Any]:
    return {
        "images": [
            {"id": 10 + i, "file_name": f"{name}.jpg", "height": h, "width": w}
            for i, (name, (h, w)) in enumerate(zip("ba", SIZES, strict=True))
        ],
        "categories": [{"id": first + i, "name": str(i)} for i in range(categories)],
        "annotations": [
            {"id": 1, "image_id": 10, "category_id": first, "bbox": [5, 5, 40, 20], "area": 800,
             "iscrowd": 0},
            {"id": 2, "image_id": 11, "category_id": first + 3, "bbox": [0, 10, 50, 60],
             "area": 3000, "iscrowd": float("nan")},
        ],
    }  # fmt: skip


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, size in zip("ba", SIZES, strict=True):
        image = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), size[::-1])
        cv2.imwrite(str(folder / f"{name}.jpg"), image)


@pytest.fixture
def openimages(tmp_path: Path) -> Path:
    root = tmp_path / "openimages"
    write_images(root / "validation" / "data")
    (root / "annotations").mkdir()
    (root / "annotations" / "openimages-mlperf.json").write_text(json.dumps(content()))
    return root


def sources(root: Path, **options: str) -> Sources:
    return Sources(data=root, options=options)


def refused(task: DetectionTask, given: Sources) -> str:
    with pytest.raises(InputError) as caught:
        task.data(given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def reference_pixels(path: Path, size: int) -> Any:
    """The operations of the reference's maybe_resize."""
    image = np.array(cv2.imread(str(path)), dtype=np.float32)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)


def test_openimages_layout_in_the_order_of_its_annotations(openimages: Path) -> None:
    for root in (openimages, openimages / "validation" / "data"):
        data = RETINANET.data(sources(root))
        assert len(data) == 2
        assert [Path(data.item(i)).name for i in range(2)] == ["b.jpg", "a.jpg"]  # type: ignore[attr-defined]
        assert list(data.image_ids) == [10, 11]  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(data)).sha256 == data.sha256


def test_cocos_layout(tmp_path: Path) -> None:
    write_images(tmp_path / "val2017")
    (tmp_path / "annotations").mkdir()
    file = tmp_path / "annotations" / "instances_val2017.json"
    file.write_text(json.dumps(content(80, 1)))
    assert len(SSD_RESNET34.data(sources(tmp_path))) == 2
    assert len(SSD_MOBILENET.data(sources(tmp_path / "val2017"))) == 2


def test_float_samples_are_the_references_to_the_bit(openimages: Path) -> None:
    data = RETINANET.data(sources(openimages, pixels="f32"))
    assert data.fields[0].dtype == "<f4"
    sample = data.read(0)["image"]
    pixels = RETINANET.sample.interior(sample)
    reference = reference_pixels(openimages / "validation" / "data" / "b.jpg", 800)
    assert np.array_equal(pixels / np.float32(255), reference / np.float32(255))
    assert (np.rint(pixels) != pixels).any()
    assert sample[0, 0].tolist() == pytest.approx(RETINANET.sample.mean)


def test_whole_samples_are_rounded_or_as_the_reference_cut_off(openimages: Path) -> None:
    file = openimages / "validation" / "data" / "b.jpg"
    sample = RETINANET.data(sources(openimages)).read(0)["image"]
    assert sample.dtype == np.uint8
    wanted = np.rint(reference_pixels(file, 800))
    assert np.array_equal(RETINANET.sample.interior(sample), wanted)
    annotations = openimages / "coco.json"
    annotations.write_text(json.dumps(content(80, 1)))
    for pixels in ("u8", "f32"):
        data = SSD_MOBILENET.data(sources(file.parent, annotations=str(annotations), pixels=pixels))
        small = SSD_MOBILENET.sample.interior(data.read(0)["image"])
        assert np.array_equal(small, reference_pixels(file, 300).astype(np.uint8))


def test_64_samples_of_retinanet_take_at_most_130_mb() -> None:
    assert 64 * np.prod(RETINANET.sample.shape) <= 130e6


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "raw"])
def test_cms_preprocessed_images_are_used_as_they_are(openimages: Path, layout: str) -> None:
    images = openimages / "validation" / "data"
    expected = RETINANET.data(sources(openimages)).read(0)["image"]
    for path in list(images.glob("*.jpg")):
        stored = (reference_pixels(path, 800) / np.float32(255)).astype(np.float32)
        if layout != "NHWC":
            stored = np.ascontiguousarray(stored.transpose(2, 0, 1))
        if layout == "raw":
            stored.tofile(path.with_suffix(".raw"))
        else:
            np.save(f"{path}.npy", stored)
        path.unlink()
    data = RETINANET.data(sources(openimages))
    assert np.array_equal(data.read(0)["image"], expected)
    assert data.preparation != RETINANET.preprocessing  # type: ignore[attr-defined]


def test_normalised_preprocessed_images(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3)).astype(np.float32)
    mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
    normalised = (pixels / np.float32(255) - mean) / std
    np.save(tmp_path / "a.jpg.npy", normalised.transpose(2, 0, 1))
    sample = SSD_RESNET34.data(sources(tmp_path)).read(0)["image"]
    assert np.array_equal(SSD_RESNET34.sample.interior(sample), pixels)


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda p: np.save(p, np.zeros((3, 300, 300), np.float32)), "float32[3, 300, 300]"),
        (lambda p: np.save(p, np.full((3, 800, 800), np.nan, np.float32)), "not finite"),
        (lambda p: np.save(p, np.array([{}], object)), "not a preprocessed image"),
        (lambda p: p.write_bytes(b"\x93NUMPY"), "not a preprocessed image"),
    ],
)
def test_bad_preprocessed_images(tmp_path: Path, write: Callable[[Path], Any], told: str) -> None:
    path = tmp_path / "a.jpg.npy"
    write(path)
    data = RETINANET.data(sources(tmp_path))
    with pytest.raises(InputError) as caught:
        data.read(0)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def _changed(change: Callable[[dict[str, Any]], Any]) -> str:
    made = content()
    change(made)
    return json.dumps(made)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not annotations in COCO's JSON"),
        ("[]", "no list 'images'"),
        ('{"images": [1], "annotations": [], "categories": []}', "no list 'images'"),
        (_changed(lambda c: c["images"].clear()), "names no images"),
        (_changed(lambda c: c["images"][0].update(id=11)), "two images of the same id"),
        (_changed(lambda c: c["images"][0].update(width=0)), "is 0 x 60 pixels large"),
        (_changed(lambda c: c["images"][0].update(height=None)), "has the height None"),
        (_changed(lambda c: c["images"][0].update(file_name="../x.jpg")), "'../x.jpg'"),
        (_changed(lambda c: c["images"][0].update(file_name="c.jpg")), "first: c.jpg"),
        (_changed(lambda c: c["annotations"][0].update(image_id=7)), "in image 7"),
        (_changed(lambda c: c["annotations"][0].update(bbox=[1, 2, 3])), "expected four numbers"),
        (_changed(lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 3])), "four"),
        (_changed(lambda c: c["annotations"][0].update(bbox=[1, 2, -3, 4])), "a box of -3 x 4"),
        (_changed(lambda c: c["categories"].append({"id": 264})), "tells 264 apart"),
    ],
)
def test_bad_annotations_are_named(openimages: Path, text: str, told: str) -> None:
    file = openimages / "annotations" / "openimages-mlperf.json"
    file.write_text(text)
    message = refused(RETINANET, sources(openimages))
    assert told in message
    assert str(file) in message


def test_another_number_of_classes_is_named(openimages: Path) -> None:
    file = openimages / "annotations" / "openimages-mlperf.json"
    message = refused(SSD_RESNET34, sources(openimages, annotations=str(file)))
    assert "has 264 categories, and the weights' network tells 80 apart" in message


def test_boxes_outside_their_images_are_a_note(openimages: Path) -> None:
    file = openimages / "annotations" / "openimages-mlperf.json"
    file.write_text(_changed(lambda c: c["annotations"][0].update(bbox=[70, 5, 40, 20])))
    data = RETINANET.data(sources(openimages))
    assert [note.endswith("1 boxes reach outside their images") for note in data.notes] == [True]  # type: ignore[attr-defined]


def test_a_foreign_network_is_scored_on_what_it_knows(openimages: Path) -> None:
    file = openimages / "coco.json"
    file.write_text(json.dumps(content(80, 1)))
    images = openimages / "validation" / "data"
    data = SSD_MOBILENET_V2.data(sources(images, annotations=str(file)))
    assert list(data.categories) == [1, 2, 3, 17, 18, 21, 44, 47, 62, 67, 72, 73, 74]  # type: ignore[attr-defined]
    assert [each["category_id"] for each in data.annotations_of([0, 1])["annotations"]] == [1]  # type: ignore[attr-defined]
    assert "1 objects of categories that the network does not know" in data.notes[0]  # type: ignore[attr-defined]


def test_images_alone_can_be_served_and_not_scored(openimages: Path) -> None:
    (openimages / "annotations" / "openimages-mlperf.json").unlink()
    data = RETINANET.data(sources(openimages / "validation" / "data"))
    assert [Path(data.item(i)).name for i in range(2)] == ["a.jpg", "b.jpg"]  # type: ignore[attr-defined]
    assert data.read(0)["image"].shape == RETINANET.sample.shape
    with pytest.raises(InputError, match="images without annotations: give --annotations FILE"):
        RETINANET.score({0: b""}, data)


def test_folders_that_are_none(tmp_path: Path) -> None:
    assert "no such folder" in refused(RETINANET, sources(tmp_path / "absent"))
    assert "holds no images" in refused(RETINANET, sources(tmp_path))
    write_images(tmp_path)
    assert "pixels 'f16'" in refused(RETINANET, sources(tmp_path, pixels="f16"))


@pytest.mark.parametrize("data", [b"", b"no image", b"\xff\xd8\xff\xe0 cut off"])
def test_broken_images_are_named(openimages: Path, data: bytes) -> None:
    file = openimages / "validation" / "data" / "b.jpg"
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"b\.jpg: not an image"):
        RETINANET.data(sources(openimages)).read(0)


def answers(boxes: dict[int, list[tuple[list[float], float, int]]]) -> dict[int, bytes]:
    made = {}
    for index, found in boxes.items():
        rows = Detections(
            np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
            np.array([score for _, score, _ in found], np.float32),
            np.array([label for _, _, label in found], np.int64),
        )
        made[index] = rows.answer(index).tobytes()
    return made


RIGHT = {
    0: [([5 / 80, 5 / 60, 45 / 80, 25 / 60], 0.9, 0)],
    1: [([0.0, 0.1, 1.0, 0.7], 0.8, 3)],
}
"""Both objects, as parts of the images."""


def test_map_of_known_answers(openimages: Path) -> None:
    data = RETINANET.data(sources(openimages))
    score = RETINANET.score(answers(RIGHT), data)
    assert score.value == pytest.approx(100)
    assert score.scored == 2
    lines = score.line.splitlines()
    assert len(lines) == 13
    assert lines[0].startswith(" Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all")
    assert lines[-1] == "mAP=100.000%"
    half = RETINANET.score(answers({0: RIGHT[0], 1: []}), data)
    assert half.line.splitlines()[-1] == "mAP=50.000%"
    assert RETINANET.score(answers({0: [], 1: []}), data).value == 0


def test_only_images_that_were_seen_are_scored(openimages: Path) -> None:
    data = RETINANET.data(sources(openimages))
    score = RETINANET.score(answers({1: RIGHT[1]}), data)
    assert score.line.splitlines()[-1] == "mAP=100.000%"
    assert score.scored == 1
    with pytest.raises(InputError, match="nothing to score"):
        RETINANET.score({}, data)


def test_labels_in_the_order_of_categories(openimages: Path) -> None:
    made = content(80, 5)
    file = openimages / "coco.json"
    file.write_text(json.dumps(made))
    images = openimages / "validation" / "data"
    data = SSD_RESNET34.data(sources(images, annotations=str(file)))
    shifted = {i: [(b, s, label + 1) for b, s, label in found] for i, found in RIGHT.items()}
    assert SSD_RESNET34.score(answers(shifted), data).value == pytest.approx(100)


def test_answers_that_are_damaged_are_named(openimages: Path) -> None:
    data = RETINANET.data(sources(openimages))
    with pytest.raises(InputError, match="sample 0 is damaged"):
        RETINANET.score({0: bytes(30)}, data)
    with pytest.raises(InputError, match="sample 0 says it is of sample 1"):
        RETINANET.score({0: answers(RIGHT)[1]}, data)
