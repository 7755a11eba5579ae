from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from shm_run import files_of, scratch_run

from shm.arena import SampleArena
from shm.segment import SegmentMissing


@pytest.fixture
def run_id() -> Iterator[str]:
    with scratch_run() as run_id:
        yield run_id


@pytest.mark.parametrize(
    ("slots", "shape", "dtype"),
    [(5, (230, 230, 3), np.uint8), (1, (7,), np.float32), (3, (2, 2, 2, 2, 2, 2, 2, 2), np.int64)],
)
def test_samples_written_once_are_read_by_all(
    run_id: str, slots: int, shape: tuple[int, ...], dtype: type[np.generic]
) -> None:
    with SampleArena.create(run_id, slots, shape, dtype) as arena:
        assert arena.samples.shape == (slots, *shape)
        assert not arena.samples.any()
        values = np.arange(arena.samples.size).reshape(arena.samples.shape).astype(dtype)
        arena.samples[:] = values
        with SampleArena.attach(run_id) as reader:
            assert reader.samples.dtype == dtype
            assert reader.samples.flags.c_contiguous
            np.testing.assert_array_equal(reader.samples, values)
            with pytest.raises(ValueError, match="read-only"):
                reader.samples[0] = 0
            with pytest.raises(ValueError, match="WRITEABLE"):
                reader.samples.flags.writeable = True


def test_samples_start_on_a_page(run_id: str) -> None:
    with SampleArena.create(run_id, 2, (3,), np.uint8) as arena:
        assert arena.samples.ctypes.data % 4096 == 0


def test_samples_held_past_close_stay_valid(run_id: str) -> None:
    arena = SampleArena.create(run_id, 2, (3,), np.uint8)
    row = arena.samples[1]
    arena.close()
    arena.close()
    arena.unlink()
    row[:] = 4
    assert row.tolist() == [4, 4, 4]


def test_bad_arenas_are_refused(run_id: str) -> None:
    with pytest.raises(SegmentMissing):
        SampleArena.attach(run_id)
    with pytest.raises(ValueError, match="dtype object"):
        SampleArena.create(run_id, 2, (3,), np.object_)
    with pytest.raises(ValueError, match="dimensions"):
        SampleArena.create(run_id, 2, (), np.uint8)
    with pytest.raises(ValueError, match="empty extent"):
        SampleArena.create(run_id, 0, (3,), np.uint8)
    assert files_of(run_id) == []
