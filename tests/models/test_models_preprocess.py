from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from base.errors import InputError
from models.imagenet.area import opencv_area
from models.imagenet.classifier import classifier, classifiers
from models.imagenet.preprocess import (
    decode,
    opencv_bilinear,
    opencv_square,
    scaled_size,
    torchvision_square,
)

# Red channel; each value is (61 r + 97 c + 7 r^2 c) mod 256.
SMALL = [
    [0, 97, 194, 35, 132],
    [61, 165, 13, 117, 221],
    [122, 247, 116, 241, 110],
    [183, 87, 247, 151, 55],
]


def rgb(channel: list[list[int]]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.repeat(np.asarray(channel, np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (500, 375, (341, 256)),
        (375, 500, (256, 341)),
        (227, 227, (256, 256)),
        (256, 300, (256, 300)),
        (1000, 333, (768, 256)),
    ],
)
def test_short_side_is_256_and_the_other_rounds_down(
    width: int, height: int, expected: tuple[int, int]
) -> None:
    assert scaled_size(width, height, 256) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # Smaller: weights of 11 bits on the two nearest rows and columns, no wider filter.
        ((3, 4), [[22, 129, 92, 134], [106, 153, 136, 167], [165, 155, 188, 77]]),
        # Larger: the edge repeats.
        (
            (7, 6),
            [
                [0, 73, 153, 128, 59, 132],
                [22, 96, 126, 102, 89, 164],
                [57, 134, 82, 61, 137, 214],
                [92, 177, 123, 112, 176, 166],
                [126, 208, 171, 171, 202, 106],
                [161, 148, 177, 193, 156, 75],
                [183, 111, 180, 207, 127, 55],
            ],
        ),
        # Half the rows only is not the special case of half in both directions.
        ((2, 5), [[31, 131, 104, 76, 177], [153, 167, 182, 196, 83]]),
        ((4, 5), SMALL),
    ],
)
def test_opencv_bilinear(size: tuple[int, int], expected: list[list[int]]) -> None:
    result = opencv_bilinear(rgb(SMALL), size, range(size[0]), range(size[1]))
    assert np.array_equal(result, rgb(expected))


@pytest.mark.parametrize(
    ("source", "size", "expected"),
    [
        # 3 to 2: each result covers one pixel and half of the middle one.
        ([[0, 30, 60]] * 3, (2, 2), [[10, 50], [10, 50]]),
        # One direction in whole cells of 3, the other unchanged: 4/3 and 13/3.
        ([[1, 2, 1, 2, 5, 6]] * 2, (2, 2), [[1, 4], [1, 4]]),
        ([[1, 2, 4, 7, 9, 30]] * 3, (1, 2), [[2, 15]]),
        ([[10, 20], [30, 41]], (1, 1), [[25]]),
        # Growing from 2 to 4: each pixel twice, because the others' share is 0.
        ([[8, 16], [24, 32]], (4, 4), [[8, 8, 16, 16]] * 2 + [[24, 24, 32, 32]] * 2),
    ],
)
def test_opencv_area(
    source: list[list[int]], size: tuple[int, int], expected: list[list[int]]
) -> None:
    result = opencv_area(rgb(source), size, range(size[0]), range(size[1]))
    assert np.array_equal(result, rgb(expected))


def test_opencv_area_of_a_part_is_that_part_of_the_whole() -> None:
    source = np.random.default_rng(3).integers(0, 256, (61, 47, 3), dtype=np.uint8)
    for size in ((33, 40), (33, 80)):
        whole = opencv_area(source, size, range(size[0]), range(size[1]))
        part = opencv_area(source, size, range(5, 31), range(17, 30))
        assert np.array_equal(part, whole[5:31, 17:30])


def test_opencv_takes_the_mean_of_four_at_exactly_half() -> None:
    source = rgb([row[:4] for row in SMALL])
    # (0 + 97 + 61 + 165 + 2) >> 2 = 81, ...
    expected = rgb([[81, 90], [160, 189]])
    assert np.array_equal(opencv_bilinear(source, (2, 2), range(2), range(2)), expected)


def test_opencv_bilinear_of_a_part_is_that_part_of_the_whole() -> None:
    source = np.random.default_rng(3).integers(0, 256, (61, 47, 3), dtype=np.uint8)
    whole = opencv_bilinear(source, (33, 80), range(33), range(80))
    part = opencv_bilinear(source, (33, 80), range(5, 31), range(17, 60))
    assert np.array_equal(part, whole[5:31, 17:60])


def test_edge_pixels_are_rounded_as_opencv_does() -> None:
    """Scaled up, the top row weighs one source row twice, each product rounded down alone."""
    value, weight = 251, 2048
    # 3 rows to 4: the first lies at (0 + 0.5) * 3/4 - 0.5 = -1/8, 7/8 on row 0 below the edge.
    upper, lower = weight // 8, weight * 7 // 8
    row = value * weight >> 4
    expected = ((upper * row >> 16) + (lower * row >> 16) + 2) >> 2
    source = np.full((3, 3, 3), value, np.uint8)
    assert opencv_bilinear(source, (4, 4), range(4), range(4))[0, 0, 0] == expected


def columns(width: int, height: int) -> Image.Image:
    """An image whose red tells the column and whose green tells the row."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(width) % 256
    pixels[..., 1] = (np.arange(height) % 256)[:, None]
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("width", "left"), [(256, 16), (257, 16), (259, 18), (261, 18)])
def test_torchvision_crop_rounds_halves_to_even(width: int, left: int) -> None:
    square = torchvision_square(columns(width, 256))
    assert square.shape == (224, 224, 3)
    assert (int(square[0, 0, 0]), int(square[0, 0, 1])) == (left, 16)


@pytest.mark.parametrize(("width", "left"), [(256, 16), (257, 16), (259, 17), (261, 18)])
def test_opencv_crop_rounds_halves_down(width: int, left: int) -> None:
    square = opencv_square(columns(width, 256))
    assert square.shape == (224, 224, 3)
    assert (int(square[0, 0, 0]), int(square[0, 0, 1])) == (left, 16)


def test_pillow_widens_its_filter_when_it_scales_down() -> None:
    """A one-pixel checkerboard, scaled to a quarter, is grey."""
    checks = (np.indices((1024, 1024)).sum(axis=0) % 2 * 255).astype(np.uint8)
    square = torchvision_square(Image.fromarray(np.repeat(checks[..., None], 3, axis=2)))
    assert np.abs(square.astype(int) - 127.5).max() < 3


@pytest.mark.parametrize("name", classifiers())
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "RGBA"])
def test_images_of_every_mode_become_samples(tmp_path: Path, name: str, mode: str) -> None:
    path = tmp_path / ("image.jpg" if mode in ("RGB", "L", "CMYK") else "image.png")
    Image.new("RGB", (300, 280), (200, 30, 90)).convert(mode).save(path)
    model = classifier(name)
    sample = model.preprocess(path)
    assert sample.dtype == np.uint8
    assert sample.shape == model.sample.shape


@pytest.mark.parametrize("name", classifiers())
def test_of_16_bits_the_upper_8_count(tmp_path: Path, name: str) -> None:
    """As cv2.imread gives them; 0x12FF is 0x12, not cut off at 255."""
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((256, 256), 0x12FF, np.uint16)).save(path)
    model = classifier(name)
    assert (model.sample.interior(model.preprocess(path)) == 0x12).all()


@pytest.mark.parametrize("name", classifiers())
def test_a_single_pixel_is_an_image(tmp_path: Path, name: str) -> None:
    path = tmp_path / "pixel.png"
    Image.new("RGB", (1, 1), (9, 8, 7)).save(path)
    model = classifier(name)
    assert np.unique(model.sample.interior(model.preprocess(path))[..., 0]).tolist() == [9]


def test_images_are_turned_upright(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    Image.new("RGB", (320, 260)).save(path, exif=exif)
    assert decode(path).size == (260, 320)


def test_broken_images_are_named(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    Image.effect_noise((300, 300), 50).save(whole)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:2000])
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    for path, reason in (
        (cut, "broken image"),
        (text, "not an image"),
        (tmp_path / "absent.jpg", "no such image"),
    ):
        with pytest.raises(InputError, match=reason) as caught:
            decode(path)
        assert str(path) in str(caught.value)
