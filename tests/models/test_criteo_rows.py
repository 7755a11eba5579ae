"""Criteo's rows in all their forms, and how they are put together to samples."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from base.errors import InputError
from models.criteo import aggregate, raw, rows
from models.criteo.dataset import Aggregation, CriteoData, open_rows
from models.criteo.shapes import DENSE, SPARSE
from models.mapped import npy
from models.ranking import Shape

SMALL = Shape((8, 4), (4, 1), (50,) * SPARSE)


def text(labels: list[int], categories: list[int]) -> bytes:
    """Rows whose integers count up, one of them missing and one negative."""
    lines = []
    for row, (label, category) in enumerate(zip(labels, categories, strict=True)):
        integers = ["", "-3", *(str(row + i) for i in range(DENSE - 2))]
        lines.append("\t".join([str(label), *integers, *[f"{category:08x}"] * (SPARSE - 1), ""]))
    return ("\n".join(lines) + "\n").encode()


def test_mlperfs_trace_is_the_published_one() -> None:
    offsets = aggregate.by_quantiles(aggregate.OFFICIAL_ROWS)
    assert len(offsets) - 1 == aggregate.OFFICIAL_SAMPLES
    assert aggregate.trace_md5(offsets) == aggregate.OFFICIAL_TRACE_MD5


def test_samples_cover_all_rows_end_to_end() -> None:
    for offsets in (
        aggregate.by_quantiles(5000),
        aggregate.by_range(5000, 3, 9),
        aggregate.by_count(5000, 300),
    ):
        assert (offsets[0], offsets[-1]) == (0, 5000)
        assert (np.diff(offsets) > 0).all()
    counts = np.diff(aggregate.by_range(5000, 3, 9))[:-1]
    assert set(counts.tolist()) == set(range(3, 10))


def test_a_trace_is_read_as_it_was_written(tmp_path: Path) -> None:
    offsets = aggregate.by_quantiles(2000)
    (tmp_path / "trace.txt").write_text(aggregate.trace(offsets))
    assert (aggregate.read_trace(tmp_path / "trace.txt", 2000) == offsets).all()
    with pytest.raises(InputError, match=r"is for 2,000 rows, the data has 2,001"):
        aggregate.read_trace(tmp_path / "trace.txt", 2001)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ("0, 5, 5\n6, 9, 3\n", "do not follow"),
        ("0, 5\n", "expected lines"),
        ("first, second, third\n", "not a trace"),
    ],
)
def test_a_bad_trace_gets_one_line(tmp_path: Path, content: str, wrong: str) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=wrong) as error:
        aggregate.read_trace(path, 9)
    assert str(path) in str(error.value)


def test_ways_to_aggregate_exclude_one_another() -> None:
    with pytest.raises(InputError, match="give one"):
        Aggregation(fix=3, quantile_file=Path("x"))
    with pytest.raises(InputError, match="goes with"):
        Aggregation(least=3)
    with pytest.raises(InputError, match="is above"):
        Aggregation(least=9, most=3)
    assert np.diff(Aggregation(fix=4).offsets(10)).tolist() == [4, 4, 2]


@pytest.mark.parametrize("packed", [False, True])
def test_text_becomes_the_references_binary_rows(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "day_0"
    content = text([0, 1, 1], [7, 57, 0xFFFFFFFF])
    path.write_bytes(gzip.compress(content) if packed else content)
    raw.to_binary(path, tmp_path / "rows.bin", 50, False)
    found = rows.binary_rows(tmp_path / "rows.bin")
    assert found.labels(0, 3).tolist() == [0, 1, 1]
    block = found.block(1, 3)
    assert block.sparse[:, 0].tolist() == [7, 0xFFFFFFFF % 50]
    assert block.sparse[:, -1].tolist() == [0, 0]
    assert block.dense[0, :3].tolist() == [0, 0, np.log(np.float32(2))]


def test_categories_are_numbered_by_first_sight(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes(text([0] * 4, [9, 4, 9, 2]))
    raw.to_binary(path, tmp_path / "rows.bin", 50, True)
    found = rows.binary_rows(tmp_path / "rows.bin").block(0, 4)
    assert found.sparse[:, 0].tolist() == [0, 1, 0, 2]


def test_an_interrupted_conversion_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "BLOCK", 2)
    path, target = tmp_path / "train.txt", tmp_path / "rows.bin"
    path.write_bytes(text([0, 1] * 100, list(range(200))))
    raw.to_binary(path, tmp_path / "whole.bin", 1000, True)

    def interrupted(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == 80:
            raise KeyboardInterrupt

    calls: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        raw.to_binary(path, target, 1000, True, interrupted)
    assert not target.exists()
    calls = [0] * 100
    raw.to_binary(path, target, 1000, True, interrupted)
    assert len(calls) - 100 < 100
    assert target.read_bytes() == (tmp_path / "whole.bin").read_bytes()
    assert not list(tmp_path.glob(".rows.bin.partial*"))


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes(text([0], [1]) + b"1\tx\n")
    with pytest.raises(InputError, match=rf"{path}: line 2 is b'1\\tx\\n', expected a label"):
        raw.to_binary(path, tmp_path / "rows.bin", 50, False)
    assert not (tmp_path / "rows.bin").exists()


def test_what_is_no_table_of_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(161))
    with pytest.raises(InputError, match="161 bytes are no rows of 40 int32"):
        rows.binary_rows(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_processed_days_are_mapped(tmp_path: Path, save: object) -> None:
    assert callable(save)
    integers = np.arange(4 * DENSE, dtype=np.int32).reshape(4, DENSE) - 2
    sparse = np.arange(4 * SPARSE, dtype=np.int32).reshape(4, SPARSE) % 50
    path = tmp_path / "day_23_processed.npz"
    save(path, X_int=integers, X_cat=sparse, y=np.array([1, 0, 0, 1], np.int32))
    found = open_rows(path, SMALL, tmp_path / "cache", None)
    assert (found.block(1, 3).sparse == sparse[1:3]).all()
    assert np.allclose(found.block(0, 4).dense, np.log1p(np.maximum(integers, 0)))
    assert found.labels(0, 4).tolist() == [1, 0, 0, 1]


def test_the_first_half_of_a_multihot_day_is_served(tmp_path: Path) -> None:
    hot = (2, 1)
    np.save(tmp_path / "day_23_dense.npy", np.ones((5, DENSE), np.float32))
    np.save(tmp_path / "day_23_labels.npy", np.array([[0], [1], [0], [1], [1]], np.int32))
    tables = {"0": np.arange(10, dtype=np.int32).reshape(5, 2), "1": np.full((5, 1), 3, np.int32)}
    np.savez(tmp_path / "day_23_sparse_multi_hot.npz", **tables)  # type: ignore[arg-type]
    found = rows.multihot_rows(tmp_path, hot)
    assert len(found) == 3
    assert found.block(1, 3).sparse.tolist() == [[2, 3, 3], [4, 5, 3]]
    assert found.labels(0, 3).tolist() == [0, 1, 0]
    with pytest.raises(InputError, match=r"table 0 has indices of shape \[5, 2\]"):
        rows.multihot_rows(tmp_path, (3, 1))


def test_rows_of_other_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    sparse = np.full((2, SPARSE), 50, np.int32)
    np.savez(path, X_int=np.zeros((2, DENSE), np.int32), X_cat=sparse, y=np.zeros(2, np.int32))
    with pytest.raises(InputError, match="looks up 50 in a table of 50 rows"):
        open_rows(path, SMALL, tmp_path, None)


def test_samples_travel_to_other_processes_without_their_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "large.npy", np.zeros((1 << 20, SPARSE), np.int32))
    lying = npy(tmp_path / "large.npy")
    counts = (1,) * SPARSE
    data = CriteoData(
        "x", "", rows.ArrayRows([], lying, [lying], lying, 1000), np.array([0, 9]), counts
    )
    assert len(pickle.dumps(data)) < 2000
    assert pickle.loads(pickle.dumps(data)).read(0)["sparse"].shape == (9, SPARSE)


def test_arrays_that_hold_objects_or_are_cut_off_are_not_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="holds object"):
        npy(tmp_path / "objects.npy")
    np.save(tmp_path / "short.npy", np.zeros(1000))
    with (tmp_path / "short.npy").open("r+b") as file:
        file.truncate(500)
    with pytest.raises(InputError, match="is cut off: 500 of 8,128 bytes"):
        npy(tmp_path / "short.npy")


def test_a_trace_is_written_as_the_reference_does_and_read_where_it_is_there(
    tmp_path: Path,
) -> None:
    file = tmp_path / "trace.txt"
    written = Aggregation(least=2, most=5, trace_file=file).offsets(100)
    assert file.read_text() == aggregate.trace(written)
    assert (Aggregation(trace_file=file).offsets(100) == written).all()
    fixed = Aggregation(fix=10, trace_file=file).offsets(100)
    assert file.read_text() == aggregate.trace(fixed)


def test_samples_that_no_answer_has_room_for_are_refused() -> None:
    with pytest.raises(InputError, match="a sample of 5,000 pairs: at most 4,096"):
        Aggregation(fix=5000).offsets(9000)


def test_unclicked_rows_are_left_out_and_others_kept(tmp_path: Path) -> None:
    labels = [1, 0] * 2000
    (tmp_path / "day").write_bytes(text(labels, list(range(4000))))
    raw.to_binary(tmp_path / "day", tmp_path / "all", 50, False)
    raw.to_binary(tmp_path / "day", tmp_path / "some", 50, False, left_out=0.875)
    kept, whole = rows.binary_rows(tmp_path / "some"), rows.binary_rows(tmp_path / "all")
    assert int(kept.labels(0, len(kept)).sum()) == 2000
    assert 150 < len(kept) - 2000 < 350
    assert len(whole) == 4000


def test_an_index_deep_in_the_rows_is_found_when_it_is_read(tmp_path: Path) -> None:
    count = (1 << 16) + 100
    sparse = np.zeros((count, SPARSE), np.int32)
    sparse[-1, 3] = 50
    for name, array in (("X_int", np.zeros((count, DENSE), np.int32)), ("X_cat", sparse)):
        np.save(tmp_path / f"{name}.npy", array)
    lying = [npy(tmp_path / f"{name}.npy") for name in ("X_int", "X_cat")]
    held = rows.ArrayRows([], lying[0], [lying[1]], lying[0], count)
    data = CriteoData("x", "", held, np.array([0, 9, count]), (50,) * SPARSE)
    assert len(data.read(0)["sparse"]) == 9
    with pytest.raises(InputError, match="row 65635 looks up 50 in a table of 50 rows"):
        data.read(1)
