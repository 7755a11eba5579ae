import numpy as np
import pytest

from models.imagenet.classifier import classifier


@pytest.mark.parametrize(
    ("name", "shape"), [("resnet50", (230, 230, 3)), ("mobilenet", (225, 225, 3))]
)
def test_sample_shape_includes_the_border(name: str, shape: tuple[int, int, int]) -> None:
    assert classifier(name).sample.shape == shape


def test_border_of_resnet50_is_three_mean_pixels_on_every_side() -> None:
    sample_format = classifier("resnet50").sample
    pixels = np.zeros((224, 224, 3), np.uint8)
    sample = sample_format.bordered(pixels)
    mean = np.array([124, 116, 104])
    for edge in (sample[:3], sample[-3:], sample[:, :3], sample[:, -3:]):
        assert (edge == mean).all()
    assert (sample[3:227, 3:227] == 0).all()


def test_border_of_mobilenet_is_below_and_to_the_right() -> None:
    sample = classifier("mobilenet").sample.bordered(np.zeros((224, 224, 3), np.uint8))
    assert (sample[-1] == 128).all()
    assert (sample[:, -1] == 128).all()
    assert (sample[:224, :224] == 0).all()


def test_interior_is_a_view_of_any_number_of_samples() -> None:
    sample_format = classifier("resnet50").sample
    samples = np.zeros((2, *sample_format.shape), np.uint8)
    sample_format.interior(samples)[:] = 9
    assert samples.sum() == 2 * 224 * 224 * 3 * 9


def test_pixels_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8\[224, 224, 3\]"):
        classifier("resnet50").sample.bordered(np.zeros((224, 223, 3), np.uint8))


def test_resnet50_is_normalised_as_torchvision_does() -> None:
    sample_format = classifier("resnet50").sample
    pixels = np.random.default_rng(1).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    std = np.array([0.229, 0.224, 0.225], np.float32)
    expected = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    planes = sample_format.normalise(sample_format.bordered(pixels)[None])
    assert planes.dtype == np.float32
    assert np.array_equal(planes[0], expected.transpose(2, 0, 1))


def test_mobilenet_is_normalised_as_the_reference_does() -> None:
    sample_format = classifier("mobilenet").sample
    pixels = np.random.default_rng(2).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    expected = pixels.astype(np.float32)
    expected /= 255.0
    expected -= 0.5
    expected *= 2
    planes = sample_format.normalise(sample_format.bordered(pixels)[None])
    assert np.array_equal(planes[0], expected.transpose(2, 0, 1))
