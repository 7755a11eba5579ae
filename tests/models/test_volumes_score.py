from __future__ import annotations

import numpy as np
import pytest

from models.volumes.dice import BRATS_REGIONS, by_class, by_region, counts, mean_over
from models.volumes.task import UNET_BRATS, UNET_KITS19


def test_dice_of_each_class_is_twice_the_overlap_over_the_sizes() -> None:
    truth = np.array([[[1, 1, 1, 0], [2, 2, 0, 0]]], np.uint8)
    seen = np.array([[[1, 1, 0, 0], [2, 0, 2, 2]]], np.uint8)
    assert by_class(counts(seen, truth, 3)) == pytest.approx([2 * 2 / 5, 2 * 1 / 5], abs=1e-5)


def test_a_class_that_neither_has_is_perfect_for_kits19_and_not_counted_for_brats() -> None:
    empty = np.zeros((1, 2, 2), np.uint8)
    pairs = counts(empty, empty, 3)
    assert by_class(pairs) == [1.0, 1.0]
    whole = np.ones((1, 2, 2), np.uint8)
    cases = [counts(whole, whole, 4), counts(empty, whole, 4)]
    assert by_region(cases[0])[0] == 1.0
    assert np.isnan(by_region(cases[0])[1:]).all()
    quality = mean_over(cases, list(BRATS_REGIONS), by_region)
    assert quality.by_name == {"whole tumor": 0.5, "tumor core": 0.0, "enhancing tumor": 0.0}


def test_regions_lie_in_one_another() -> None:
    truth = np.array([[[0, 1, 2, 3]]], np.uint8)
    seen = np.array([[[0, 1, 1, 3]]], np.uint8)
    whole, core, enhancing = by_region(counts(seen, truth, 4))
    assert [whole, core, enhancing] == pytest.approx([1.0, 2 / 3, 1.0])


def test_a_class_beyond_the_known_ones_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond 2"):
        counts(np.full((1, 1, 1), 7, np.uint8), np.zeros((1, 1, 1), np.uint8), 3)


def test_the_lines_are_mlperfs() -> None:
    quality = mean_over([np.diag([5, 3, 2])], ("kidney", "tumor"), by_class)
    assert quality.line == "Accuracy: mean = 1.00000, kidney = 1.0000, tumor = 1.0000"


def test_benchmarks_have_the_rules_figures() -> None:
    for task, reference, samples, loaded in (
        (UNET_KITS19, 86.17, 43, 0),
        (UNET_BRATS, 85.3, 67, 16),
    ):
        assert [b.name for b in task.benchmarks] == [f"{task.name}-99", f"{task.name}-99.9"]
        assert [b.checker_name for b in task.benchmarks] == ["3d-unet-99", "3d-unet-99.9"]
        for benchmark, share in zip(task.benchmarks, (0.99, 0.999), strict=True):
            assert benchmark.conf == "3d-unet"
            assert (benchmark.reference, benchmark.share) == (reference, share)
            assert (benchmark.samples, benchmark.performance_samples) == (samples, loaded)
            assert benchmark.scenarios == ("Offline", "SingleStream")
        assert len(task.inference) == len(set(task.inference)) == samples
        assert not set(task.inference) & set(task.calibrating)
    assert (len(UNET_KITS19.calibrating), len(UNET_BRATS.calibrating)) == (20, 40)
    assert UNET_KITS19.benchmarks[0].offline_samples == 43
