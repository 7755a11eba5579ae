"""What LoadGen loads lies in the arena: which samples, where, in which order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loadrun.library import LibraryError, SampleLibrary, arena_layout, open_samples
from models.samples import Prepared, save
from models.task import Field
from shm.arena import SampleArena

PIXELS = Field("pixels", "|u1", (4,))
IDS = Field("ids", "<i4", (None,))


def even(folder: Path, count: int) -> Prepared:
    rows = np.arange(4 * count, dtype=np.uint8).reshape(count, 4)
    return save(folder, [PIXELS], [{"pixels": row} for row in rows])


def uneven(folder: Path, lengths: list[int]) -> Prepared:
    """Sample i has its number in every place; its length is its work."""
    samples = [{"ids": np.full(length, i, np.int32)} for i, length in enumerate(lengths)]
    return save(folder, [IDS], samples, [max(1, length) for length in lengths])


def library_of(source: Prepared, slots: int) -> tuple[SampleLibrary, SampleArena]:
    arena = SampleArena.private(arena_layout(source, slots))
    return SampleLibrary(source, arena), arena


def test_library_loads_unloads_and_repeats(tmp_path: Path) -> None:
    source = even(tmp_path / "s", 10)
    library, arena = library_of(source, 4)
    rows = arena.columns["pixels"]
    assert (library.total_sample_count, library.performance_sample_count) == (10, 4)
    # MultiStream fills its sets up with repetitions.
    library.load([9, 2, 5, 9, 2])
    positions = library.positions([2, 5, 9])
    assert positions == sorted(positions)
    assert (rows[positions] == source.column("pixels")[[2, 5, 9]]).all()
    assert arena.indices[positions].tolist() == [2, 5, 9]
    library.load([0])
    with pytest.raises(LibraryError, match="LoadGen loads 1 samples, the arena has room for 0"):
        library.load([1])
    library.unload([9, 2, 5, 9, 2])
    library.load([7, 8, 6])
    assert (rows[library.positions([8, 0, 6, 7])] == source.column("pixels")[[8, 0, 6, 7]]).all()
    assert library.positions([9]) == [-1]
    assert library.costs is None
    assert library.mean_cost == 1.0


def test_positions_are_longest_first(tmp_path: Path) -> None:
    library, arena = library_of(uneven(tmp_path / "s", [3, 9, 0, 9, 6, 3]), 5)
    library.load([0, 1, 3, 4, 5])
    assert library.positions([1, 3, 4, 0, 5]) == [0, 1, 2, 3, 4]
    assert [arena.row("ids", p).tolist() for p in (0, 2, 4)] == [[1] * 9, [4] * 6, [5] * 3]
    mean = (3 + 9 + 1 + 9 + 6 + 3) / 6
    expected = [9 / mean, 9 / mean, 6 / mean, 3 / mean, 3 / mean]
    assert library.costs == pytest.approx(expected)
    assert arena.costs.tolist() == library.costs
    assert library.mean_cost == pytest.approx((3 + 9 + 9 + 6 + 3) / 5 / mean)
    assert library.relative.mean() == pytest.approx(1.0)


def test_any_set_fits_the_arena_and_the_next_one_too(tmp_path: Path) -> None:
    lengths = [100, 1, 90, 2, 80, 3]
    library, arena = library_of(uneven(tmp_path / "s", lengths), 3)
    for chosen in ([0, 2, 4], [1, 3, 5], [4, 2, 0], [0, 1, 2]):
        library.load(chosen)
        for index in chosen:
            (position,) = library.positions([index])
            assert arena.row("ids", position).tolist() == [index] * lengths[index]
        library.unload(chosen)
    assert arena.loaded() == []


def test_a_warm_up_gets_samples_of_all_kinds(tmp_path: Path) -> None:
    library, arena = library_of(uneven(tmp_path / "s", list(range(1, 101))), 4)
    assert library.load_for_warm_up() == arena.loaded() == [0, 1, 2, 3]
    assert [len(arena.row("ids", p)) for p in range(4)] == [88, 63, 38, 13]
    library.unload_all()
    assert arena.loaded() == []
    library.load([99, 98, 97, 96])
    assert library.positions([99]) == [0]


def test_a_warm_up_of_one_large_sample_gets_the_cheapest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadrun.library.WARM_UP_BYTES", 400)
    served, arena = library_of(uneven(tmp_path / "s", [60, 90, 50, 70]), 4)
    (position,) = served.load_for_warm_up()
    assert len(arena.row("ids", position)) == 50


def test_a_large_file_of_samples_takes_little_memory(tmp_path: Path) -> None:
    """As in AccuracyOnly: set after set is loaded and unloaded, until all were there."""
    folder, size, count = tmp_path / "samples", 1 << 20, 96
    row = {"pixels": np.ones(size, np.uint8)}
    save(folder, [Field("pixels", "|u1", (size,))], [row] * count)
    library, arena = library_of(open_samples(folder, count), 8)
    rows = arena.columns["pixels"]
    before = mapped_bytes()
    for start in range(0, count, 8):
        library.load(list(range(start, start + 8)))
        assert rows.all()
        rows[:] = 0
        library.unload(list(range(start, start + 8)))
        assert mapped_bytes() - before < 16 * size


def mapped_bytes() -> int:
    """Resident pages of mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssFile"))


def test_more_samples_than_there_are(tmp_path: Path) -> None:
    even(tmp_path / "s", 3)
    assert len(open_samples(tmp_path / "s", 2)) == 2
    with pytest.raises(LibraryError, match="holds 3 samples, sample_count is 4"):
        open_samples(tmp_path / "s", 4)
