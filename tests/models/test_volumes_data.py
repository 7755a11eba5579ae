from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from volume_cases import noise

from base.errors import InputError
from models.task import Sources
from models.volumes import brats, kits19
from models.volumes.data import spread_windows
from models.volumes.pickles import read_pickle
from models.volumes.task import UNET_BRATS, UNET_KITS19


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_and_plain_values_come_out_of_a_pickle(tmp_path: Path, protocol: int) -> None:
    held = [
        np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4),
        np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        {"shape": (1, 2), "zoom": np.float64(0.5), "name": "case_00000", "empty": np.zeros(0)},
    ]
    path = tmp_path / "held.pkl"
    path.write_bytes(pickle.dumps(held, protocol=protocol))
    image, turned, facts = read_pickle(path)
    assert_array_equal(image, held[0])
    assert_array_equal(turned, held[1])
    assert (facts["shape"], facts["zoom"], facts["name"]) == ([1, 2], 0.5, "case_00000")


@pytest.mark.parametrize(
    ("held", "problem"),
    [
        (Hostile(), "system"),
        (np.array([Hostile()], object), "system|objects"),
        (np.array([None, "x"], object), "array of objects"),
        (np.array(["x" * 9]), "an array of"),
        (Path("x"), "names pathlib"),
        (print, "names builtins.print"),
    ],
)
def test_a_pickle_that_asks_for_more_than_arrays_is_refused(
    tmp_path: Path, held: Any, problem: str
) -> None:
    path = tmp_path / "held.pkl"
    path.write_bytes(pickle.dumps(held))
    with pytest.raises(InputError, match=problem):
        read_pickle(path)


def test_damaged_pickles_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "held.pkl"
    whole = pickle.dumps([np.zeros(100, np.float32)])
    for data in (b"", whole[:-20], b"\x80\x05\x8c\xff", whole.replace(b"Kd", b"Kc"), b"]" * 99):
        path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            read_pickle(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("size", "fitted"),
    [(60, 128), (128, 128), (159, 128), (160, 192), (191, 192), (192, 192), (223, 192), (224, 256)],
)
def test_volumes_are_cut_or_filled_up_to_strides(size: int, fitted: int) -> None:
    assert kits19.fitted_shape((size, 128, 200))[0] == fitted
    volume = np.arange(size, dtype=np.float32)[:, None, None] + np.zeros((1, 3, 2), np.float32)
    found = kits19.fitted(volume, -2.2)
    assert found.shape == (fitted, 128, 128)
    line = found[:, 64, 64]
    inside = line[line != np.float32(-2.2)]
    if size < 128:  # the edges are repeated
        assert (line[0], line[-1]) == (0, size - 1)
    else:
        assert abs(inside[0] - (size - 1 - inside[-1])) <= 1
        assert len(inside) == min(size, fitted)


def test_a_scan_is_prepared_as_the_reference_does(tmp_path: Path) -> None:
    nibabel, ndimage = pytest.importorskip("nibabel"), pytest.importorskip("scipy.ndimage")
    voxels = (noise(50, 100, 90) * 200).astype(np.int16)
    labels = (voxels > 100).astype(np.uint8)
    affine = np.diag([3.0, 0.9, 0.9, 1])
    for case in ("case_00185", "case_00003"):
        folder = tmp_path / "data" / case
        folder.mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / "imaging.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels, affine), folder / "segmentation.nii.gz")
    data = UNET_KITS19.data(Sources(data=tmp_path))
    # In MLPerf's order, and the copy of a case that is there is there, too.
    assert data.cases == ("case_00003", "case_00185", "case_00400")  # type: ignore[attr-defined]
    sample = data.read(0)
    zoom = np.array([3.0, 0.9, 0.9], np.float32).astype(float) / [1.6, 1.2, 1.2]
    image = ndimage.zoom(voxels.astype(np.float32), zoom, order=1, cval=voxels.min())
    image = (np.clip(image, -79, 304) - 101) / np.float32(76.9)
    missing = [max(0, 128 - size) for size in image.shape]
    expected = np.pad(image, [(n // 2, n - n // 2) for n in missing], mode="edge")
    assert_allclose(sample["image"][0], expected, atol=1e-6)
    assert data.cost(sample) == 1
    source = data.source  # type: ignore[attr-defined]
    assert source.shape("case_00003") == sample["image"].shape[1:]
    truth = source.truth("case_00003")
    score = UNET_KITS19.score({0: truth.tobytes()}, data)
    assert score.line == "Accuracy: mean = 1.00000, kidney = 1.0000, tumor = 1.0000"
    assert UNET_KITS19.longest_answer({"image": sample["image"].nbytes}) == truth.size
    with pytest.raises(InputError, match="the log was made from other data"):
        UNET_KITS19.score({0: b"\0" * 99}, data)


def test_the_references_pickles_are_read(tmp_path: Path) -> None:
    shape = (1, 128, 128, 192)
    image, label = noise(*shape), np.zeros(shape, np.uint8)
    label[:, :20], label[:, 20:30] = 1, 2
    listed = {"file_list": ["case_00003"], "cases": {"case_00003": {"image_shape": shape}}}
    (tmp_path / "preprocessed_files.pkl").write_bytes(pickle.dumps(listed))
    (tmp_path / "case_00003.pkl").write_bytes(pickle.dumps([image, label]))
    data = UNET_KITS19.data(Sources(data=tmp_path))
    sample = data.read(0)
    assert_array_equal(sample["image"], image)
    assert data.cost(sample) == 2
    assert pickle.loads(pickle.dumps(data)).sha256 == data.sha256
    score = UNET_KITS19.score({0: label.tobytes()}, data)
    assert (score.value, score.scored) == (100.0, 1)
    chosen = spread_windows(data, 3)  # type: ignore[arg-type]
    assert [chosen.read(i)["image"].shape for i in range(len(chosen))] == [(1, 128, 128, 128)] * 3
    wrong: list[Any] = [{"file_list": ["a/b"]}, {"file_list": []}, [1], {"cases": 1}]
    for broken in wrong:
        (tmp_path / "preprocessed_files.pkl").write_bytes(pickle.dumps(broken))
        with pytest.raises(InputError, match=r"preprocessed_files\.pkl"):
            UNET_KITS19.data(Sources(data=tmp_path))


@pytest.mark.parametrize("task", [UNET_KITS19, UNET_BRATS])
def test_a_folder_without_volumes_says_what_is_expected(tmp_path: Path, task: Any) -> None:
    with pytest.raises(InputError, match="no volumes: expected"):
        task.data(Sources(data=tmp_path))


def test_a_file_that_is_no_scan_is_named(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    folder = tmp_path / "case_00000"
    folder.mkdir()
    (folder / "imaging.nii.gz").write_bytes(b"not a scan")
    data = UNET_KITS19.data(Sources(data=tmp_path))
    with pytest.raises(InputError, match=r"imaging\.nii\.gz: not a NIfTI file"):
        data.read(0)


def brats_case(folder: Path, nibabel: Any) -> np.ndarray[Any, Any]:
    """A head in the challenge's layout; returns its segmentation as the file has it."""
    folder.mkdir(parents=True)
    inside = np.zeros((60, 70, 50), bool)
    inside[5:50, 10:60, 8:45] = True
    labels = np.zeros(inside.shape, np.int16)
    labels[20:30, 20:30, 20:30], labels[22:28, 22:28, 22:28], labels[24, 24, 24] = 2, 1, 4
    for number, name in enumerate(brats.MODALITIES):
        scan = np.where(inside, noise(*inside.shape, number=number) * 9 + 100, 0)
        image = nibabel.Nifti1Image(scan.astype(np.float32), np.eye(4))
        nibabel.save(image, folder / f"{folder.name}_{name}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), folder / f"{folder.name}_seg.nii.gz")
    return labels


def test_a_head_is_cut_out_normalised_and_put_back(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    pytest.importorskip("scipy")
    labels = brats_case(tmp_path / "HGG" / "BraTS19_X_1", nibabel)
    data = UNET_BRATS.data(Sources(data=tmp_path))
    image = data.read(0)["image"]
    assert image.shape == (4, 224, 224, 160)
    # z, y, x: a box of 37 x 50 x 45 in the middle, half of the rest before it.
    box = image[:, 93 : 93 + 37, 87 : 87 + 50, 57 : 57 + 45]
    assert np.count_nonzero(image) == np.count_nonzero(box)
    assert_allclose(box.reshape(4, -1).mean(1), 0, atol=1e-3)
    assert_allclose(box.reshape(4, -1).std(1), 1, atol=1e-3)
    classes = np.zeros((224, 224, 160), np.uint8)
    truth = np.array([0, 2, 1, 0, 3])[labels.transpose(2, 1, 0)]
    classes[93 : 93 + 37, 87 : 87 + 50, 57 : 57 + 45] = truth[8:45, 10:60, 5:50]
    answer = (np.arange(4).reshape(4, 1, 1, 1) == classes).astype(np.float16)
    score = UNET_BRATS.score({0: answer.tobytes()}, data)
    assert score.line == (
        "Accuracy: mean = 1.00000, whole tumor = 1.0000, tumor core = 1.0000, "
        "enhancing tumor = 1.0000"
    )


def test_a_head_that_is_too_large_is_refused() -> None:
    assert brats.margins((155, 201, 140)) == [(34, 35), (11, 12), (10, 10)]
    with pytest.raises(ValueError, match="does not fit"):
        brats.margins((155, 240, 140))
