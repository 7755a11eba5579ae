from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from volume_cases import noise

from models.task import Array
from models.volumes import windows


def by_definition(image: Array, logits_of: object) -> Array:
    """MLPerf's reference: sums and weights of the whole volume, a division, argmax."""
    shape = image.shape[1:]
    axis = np.exp(-((np.arange(128) - 63.5) ** 2) / (2 * 16**2))
    patch = np.cbrt(np.outer(np.outer(axis, axis), axis).reshape(128, 128, 128))
    patch = (patch / patch.max()).astype(np.float32)
    sums, weights = np.zeros((3, *shape), np.float32), np.zeros(shape, np.float32)
    for d in range(0, shape[0] - 127, 64):
        for h in range(0, shape[1] - 127, 64):
            for w in range(0, shape[2] - 127, 64):
                at = (slice(d, d + 128), slice(h, h + 128), slice(w, w + 128))
                sums[(slice(None), *at)] += logits_of(image[(slice(None), *at)]) * patch  # type: ignore[operator]
                weights[at] += patch
    found: Array = (sums / weights).argmax(0).astype(np.uint8)
    return found


def logits_of(window: Array) -> Array:
    """Logits that depend on where in the window a voxel is, as a network's do."""
    slope = np.linspace(-1, 1, window.shape[1], dtype=np.float32)[:, None, None]
    return np.concatenate([window, slope - window, window * slope])


def run(image: list[Array]) -> dict[str, Array]:
    return {"logits": np.stack([logits_of(window) for window in image])}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((192, 192, 192), 8),
        ((128, 320, 320), 16),
        ((256, 256, 256), 27),
        ((320, 448, 448), 144),
        ((48, 64, 32), 1),
        ((128, 48, 192), 2),
    ],
)
def test_windows_are_counted_as_they_are_walked(shape: tuple[int, int, int], expected: int) -> None:
    assert windows.count(shape) == expected
    assert len(list(windows.corners(shape))) == expected


def test_a_volume_that_windows_do_not_cover_is_refused() -> None:
    with pytest.raises(ValueError, match="do not cover"):
        list(windows.corners((150, 128, 128)))


def test_the_segmentation_is_the_references() -> None:
    image = noise(1, 256, 128, 192)
    (labels,) = windows.segment(run, [image])
    assert labels.dtype == np.uint8
    assert labels.shape == (256, 128, 192)
    # A division by the weights' sum can round two classes together.
    assert (labels != by_definition(image, logits_of)).mean() < 1e-6


def test_small_windows_of_several_volumes_are_run_together_and_large_ones_alone() -> None:
    calls: list[list[tuple[int, ...]]] = []

    def noted(image: list[Array]) -> dict[str, Array]:
        calls.append([window.shape for window in image])
        return run(image)

    small, other, large = noise(1, 48, 64, 32), noise(1, 32, 64, 32), noise(1, 128, 128, 192)
    volumes = [small, small + 1, other, large]
    found = windows.segment(noted, volumes)
    assert [len(call) for call in calls] == [2, 1, 1, 1]
    for volume, labels in zip(volumes, found, strict=True):
        assert_array_equal(labels, windows.segment(run, [volume])[0])
    assert_array_equal(found[0], logits_of(small).argmax(0))


def test_of_equal_logits_the_first_class_is_taken() -> None:
    logits = np.array([[1, 0, 2, 2], [1, 3, 2, 1], [0, 3, 3, 2]], np.float32)
    out = np.empty(4, np.uint8)
    windows.largest(logits, out)
    assert_array_equal(out, logits.argmax(0))


def test_sums_keep_no_more_planes_than_a_window_has() -> None:
    sums = windows.Sums((640, 128, 128), 3)
    held = sum(v.nbytes for v in vars(sums).values() if isinstance(v, np.ndarray))
    assert held < 3 * 128**3 * 4 + 640 * 128**2 + 2 * 128**3 * 4
