from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from shm_run import files_of, scratch_run

from shm.arena import (
    EMPTY,
    ArenaField,
    ArenaFullError,
    ArenaLayout,
    SampleArena,
    heap_bytes,
)
from shm.segment import SegmentMissing, ShmError

PIXELS = ArenaField("pixels", "|u1", (5, 3))
IDS = ArenaField("ids", "<i4", (None,))
BOXES = ArenaField("boxes", "<f4", (None, 4))
MIXED = ArenaLayout(3, (IDS, PIXELS, BOXES), 4096)


@pytest.fixture
def run_id() -> Iterator[str]:
    with scratch_run() as run_id:
        yield run_id


def sample(seed: int, ids: int, boxes: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "pixels": random.integers(0, 256, (5, 3), np.uint8),
        "ids": random.integers(0, 1000, ids, np.int32),
        "boxes": random.random((boxes, 4), np.float32),
    }


def holds(arena: SampleArena, position: int, expected: dict[str, Any]) -> None:
    for name, row in expected.items():
        found = arena.row(name, position)
        assert found.dtype == row.dtype
        assert found.shape == row.shape
        np.testing.assert_array_equal(found, row)


@pytest.mark.parametrize(
    ("slots", "shape", "dtype"),
    [
        (5, (230, 230, 3), "|u1"),
        (1, (7,), "<f4"),
        (3, (2, 2, 2, 2, 2, 2, 2, 2), "<i8"),
        (4, (), "<i8"),
    ],
)
def test_a_fixed_field_is_one_array_of_all_rows(
    run_id: str, slots: int, shape: tuple[int, ...], dtype: str
) -> None:
    layout = ArenaLayout(slots, (ArenaField("x", dtype, shape),))
    with SampleArena.create(run_id, layout) as arena:
        column = arena.columns["x"]
        assert column.shape == (slots, *shape)
        assert not column.any()
        values = np.arange(column.size).reshape(column.shape).astype(dtype)
        for position in range(slots):
            arena.put(position, 100 + position, 1.0, {"x": values[position]})
        with SampleArena.attach(run_id) as reader:
            found = reader.columns["x"]
            assert found.dtype == np.dtype(dtype)
            assert found.flags.c_contiguous
            np.testing.assert_array_equal(found, values)
            np.testing.assert_array_equal(reader.row("x", slots - 1), values[-1])
            with pytest.raises(ValueError, match="read-only"):
                found[0] = 0
            with pytest.raises(ValueError, match="WRITEABLE"):
                found.flags.writeable = True


def test_samples_of_several_fields_and_shapes(run_id: str) -> None:
    samples = [sample(0, 17, 2), sample(1, 0, 0), sample(2, 1, 9)]
    with SampleArena.create(run_id, MIXED) as arena, SampleArena.attach(run_id) as reader:
        assert reader.layout == MIXED
        assert reader.loaded() == []
        assert reader.indices.tolist() == [EMPTY] * 3
        for position in (2, 0, 1):
            arena.put(position, 70 + position, 0.5 * position, samples[position])
        assert reader.loaded() == [0, 1, 2]
        assert reader.indices.tolist() == [70, 71, 72]
        assert reader.costs.tolist() == [0.0, 0.5, 1.0]
        for position in range(3):
            holds(reader, position, samples[position])
        with pytest.raises(ValueError, match="read-only"):
            reader.row("ids", 0)[0] = 1


def test_what_lies_in_the_heap_begins_on_cache_lines(run_id: str) -> None:
    with SampleArena.create(run_id, MIXED) as arena:
        for position in range(3):
            arena.put(position, position, 1.0, sample(position, 5, 3))
            for field in ("ids", "boxes"):
                assert arena.row(field, position).ctypes.data % 64 == 0
        assert arena.columns["pixels"].ctypes.data % 4096 == 0


def test_the_heap_is_empty_again_when_all_rows_are(run_id: str) -> None:
    layout = ArenaLayout(2, (IDS,), 256)
    with SampleArena.create(run_id, layout) as arena:
        for round_ in range(5):
            arena.put(0, round_, 1.0, {"ids": np.full(32, round_, np.int32)})
            arena.put(1, round_, 1.0, {"ids": np.full(32, -round_, np.int32)})
            assert arena.row("ids", 0).tolist() == [round_] * 32
            assert arena.row("ids", 1).tolist() == [-round_] * 32
            arena.clear(0)
            # What is left is not overwritten: there is no room until it has gone, too.
            with pytest.raises(ArenaFullError, match=r"sample 9: its ids needs 4 bytes, .* 0 left"):
                arena.put(0, 9, 1.0, {"ids": np.ones(1, np.int32)})
            assert arena.row("ids", 1).tolist() == [-round_] * 32
            assert arena.loaded() == [1]
            arena.clear(1)
            arena.clear(1)


def test_a_row_holds_one_sample(run_id: str) -> None:
    with SampleArena.create(run_id, MIXED) as arena:
        arena.put(1, 7, 1.0, sample(0, 1, 1))
        with pytest.raises(ValueError, match="row 1 holds sample 7"):
            arena.put(1, 8, 1.0, sample(0, 1, 1))


@pytest.mark.parametrize(("slots", "expected"), [(1, 192), (2, 320), (3, 384), (9, 384)])
def test_a_heap_has_room_for_the_largest_samples(slots: int, expected: int) -> None:
    sizes = np.array([[1, 65], [0, 64], [64, 64]])
    assert heap_bytes(sizes, slots) == expected


def test_in_the_memory_of_one_process() -> None:
    arena = SampleArena.private(MIXED)
    arena.put(0, 3, 1.5, sample(4, 2, 2))
    holds(arena, 0, sample(4, 2, 2))
    assert (arena.indices[0], arena.costs[0]) == (3, 1.5)
    arena.unlink()
    arena.close()


def test_rows_held_past_close_stay_valid(run_id: str) -> None:
    arena = SampleArena.create(run_id, MIXED)
    arena.put(1, 0, 1.0, sample(5, 3, 1))
    row, pixels = arena.row("ids", 1), arena.columns["pixels"][1]
    arena.close()
    arena.close()
    arena.unlink()
    assert row.tolist() == sample(5, 3, 1)["ids"].tolist()
    pixels[:] = 4
    assert pixels.sum() == 60


def test_bad_arenas_are_refused(run_id: str) -> None:
    with pytest.raises(SegmentMissing):
        SampleArena.attach(run_id)
    with pytest.raises(ValueError, match="dtype O"):
        ArenaField("x", "O", (2,))
    with pytest.raises(ValueError, match="8 dimensions"):
        ArenaField("x", "|u1", (1,) * 9)
    with pytest.raises(ValueError, match="empty extent"):
        ArenaField("x", "|u1", (0,))
    with pytest.raises(ValueError, match="expected up to 39"):
        ArenaField("no name", "|u1", (1,))
    with pytest.raises(ValueError, match="0 rows"):
        ArenaLayout(0, (PIXELS,))
    with pytest.raises(ValueError, match="a name each"):
        ArenaLayout(1, (PIXELS, PIXELS))
    assert files_of(run_id) == []


def test_another_layout_than_the_header_s_is_refused(run_id: str) -> None:
    with SampleArena.create(run_id, MIXED) as arena:
        assert arena._segment is not None
        with arena._segment.buf[:48].cast("Q") as words:
            words[2] += 1000
        with pytest.raises(ShmError, match="cannot hold samples"):
            SampleArena.attach(run_id)
