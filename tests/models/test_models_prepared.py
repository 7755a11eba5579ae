"""Samples of several fields and varying shapes, prepared once into a folder."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ragged import Sequences

from base.errors import InputError
from models.samples import CHECKED_BYTES, Prepared, SamplesError, checksum, prepare, save
from models.task import Array, Chosen, Field, spread

DATA = Sequences()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker processes, which take longer to start than these samples to read."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})


def unexpected(done: int, total: int) -> None:
    raise AssertionError(f"built again: {done} of {total}")


def is_data(prepared: Prepared, data: Any) -> None:
    assert len(prepared) == len(data)
    for index in range(len(data)):
        wanted, found = data.read(index), prepared[index]
        assert list(found) == [field.name for field in data.fields]
        for name, row in found.items():
            assert row.dtype == wanted[name].dtype
            assert row.shape == wanted[name].shape
            np.testing.assert_array_equal(row, wanted[name])
        assert prepared.costs[index] == data.cost(wanted)


def test_samples_are_what_the_data_set_reads(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    prepared = prepare(DATA, tmp_path, lambda *call: calls.append(call))
    is_data(prepared, DATA)
    assert prepared.fields == DATA.fields
    assert (calls[0], calls[-1]) == ((0, 64), (64, 64))
    assert prepare(DATA, tmp_path, unexpected).path == prepared.path
    lengths = [len(DATA.read(i)["ids"]) for i in range(64)]
    assert prepared.nbytes("ids").tolist() == [4 * n for n in lengths]
    assert prepared.nbytes("scale").tolist() == [4] * 64
    assert prepared.column("scale").shape == (64,)
    with pytest.raises(ValueError, match="its shape varies"):
        prepared.column("ids")
    with pytest.raises(ValueError, match="read-only"):
        prepared[0]["ids"][0] = 1
    # Nothing else is left there.
    kept = [p for p in (tmp_path / "samples").iterdir() if not p.name.endswith(".lock")]
    assert kept == [prepared.path]


@pytest.mark.usefixtures("alone")
def test_a_part_of_the_samples(tmp_path: Path) -> None:
    prepared = prepare(DATA, tmp_path)
    head = prepared.head(5)
    is_data(head, Sequences(5))
    assert [len(one["ids"]) for one in head] == [len(DATA.read(i)["ids"]) for i in range(5)]
    assert head[-1]["scale"] == head[4]["scale"]
    assert len(head[1:3]) == 2
    with pytest.raises(IndexError):
        head[5]
    chosen = spread(DATA, 3)
    assert isinstance(chosen, Chosen)
    assert chosen.indices == (0, 21, 42)
    assert spread(DATA, 64) is DATA
    others = prepare(chosen, tmp_path)
    assert others.path != prepared.path
    np.testing.assert_array_equal(others[1]["ids"], prepared[21]["ids"])


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("name", ["ids.npy", "ids.shape.npy", "scale.npy", "cost.npy"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "gone"])
def test_a_damaged_folder_is_built_again(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = prepare(DATA, tmp_path).path
    file = path / name
    whole = file.read_bytes()
    if damage == "truncated":
        file.write_bytes(whole[:-1])
    elif damage == "changed":
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    else:
        file.unlink()
    with caplog.at_level(logging.WARNING):
        prepare(DATA, tmp_path)
    assert file.read_bytes() == whole
    assert "building them again" in caplog.text
    assert str(path) in caplog.text
    prepare(DATA, tmp_path, unexpected)


@pytest.mark.usefixtures("alone")
def test_another_version_or_content_has_another_place(tmp_path: Path) -> None:
    paths = {
        prepare(DATA, tmp_path).path,
        prepare(Sequences(seed=6), tmp_path).path,
        prepare(Sequences(count=63), tmp_path).path,
        prepare(Renamed(), tmp_path).path,
    }
    assert len(paths) == 4


@dataclass(frozen=True)
class Renamed(Sequences):
    preparation = "ragged-2"


@pytest.mark.usefixtures("alone")
def test_what_cannot_be_read_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sequence 5: is broken, and 1 more of 64 samples .* see"):
        prepare(replace(DATA, broken=(40, 5)), tmp_path)
    (report,) = (tmp_path / "samples").glob("*.bad.txt")
    assert report.read_text().splitlines() == ["sequence 5: is broken", "sequence 40: is broken"]
    calls: list[tuple[int, int]] = []
    prepared = prepare(DATA, tmp_path, lambda *call: calls.append(call))
    assert calls[0] == (62, 64)
    is_data(prepared, DATA)
    assert not report.exists()


def test_an_interrupted_preparation_goes_on(tmp_path: Path) -> None:
    """Killed after the first piece of work."""
    script = tmp_path / "build.py"
    script.write_text(
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from models.samples import prepare\n"
        "from ragged import Sequences\n"
        "def kill(done, total):\n"
        "    if done:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "if __name__ == '__main__':\n"
        "    prepare(Sequences(), Path(sys.argv[1]), kill)\n"
    )
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(root / "tests" / "support")])
    command = [sys.executable, str(script), str(tmp_path / "cache")]
    done = subprocess.run(command, env={"PYTHONPATH": paths}, check=False)
    assert done.returncode == -signal.SIGKILL
    calls: list[tuple[int, int]] = []
    prepared = prepare(DATA, tmp_path / "cache", lambda *call: calls.append(call))
    assert 1 <= calls[0][0] < 64
    is_data(prepared, DATA)


@pytest.mark.usefixtures("alone")
def test_a_row_that_was_half_written_is_made_again(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        prepare(replace(DATA, broken=(63,)), tmp_path)
    (partial,) = (tmp_path / "samples").glob(".*.partial")
    # A power failure keeps names and marks, but not all bytes.
    rows = max(partial.glob("ids.*.rows"), key=lambda file: file.stat().st_size)
    rows.write_bytes(bytes(rows.stat().st_size))
    (shorter, *_) = [f for f in partial.glob("pairs.*.rows") if f.stat().st_size > 8]
    os.truncate(shorter, 8)
    calls: list[tuple[int, int]] = []
    is_data(prepare(DATA, tmp_path, lambda *call: calls.append(call)), DATA)
    assert 0 < calls[0][0] < 62


@dataclass(frozen=True)
class Wrong(Sequences):
    """Its samples are not what its fields say."""

    kind: str = ""

    def read(self, index: int) -> dict[str, Array]:
        """A sample with a fault."""
        sample = super().read(index)
        if self.kind == "dtype":
            sample["ids"] = sample["ids"].astype(np.int64)
        elif self.kind == "shape":
            sample["pairs"] = sample["pairs"].reshape(-1)
        elif self.kind == "missing":
            del sample["scale"]
        return sample

    def cost(self, sample: Any) -> float:
        """None at all."""
        return 0.0 if self.kind == "cost" else super().cost(sample)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("dtype", r"sequences: sample \d+: ids is <i8 \(\d+,\), expected <i4 \(None,\)"),
        ("shape", r"sequences: sample \d+: pairs is <i2 \(\d+,\), expected <i2 \(None, 2\)"),
        ("missing", r"sequences: sample \d+ has the fields \['ids', 'pairs'\], expected "),
        ("cost", r"sequences: sample \d+: its cost is 0.0, expected a positive number"),
    ],
)
def test_a_data_set_that_does_not_keep_to_its_fields(tmp_path: Path, kind: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        prepare(Wrong(kind=kind), tmp_path)


@pytest.mark.parametrize(
    "field",
    [
        Field("No name", "<i4", (1,)),
        Field("cost", "<i4", (1,)),
        Field("x", "int32", (1,)),
        Field("x", ">i4", (1,)),
        Field("x", "|O", (1,)),
        Field("x", "<i4", (0,)),
        Field("x", "<i4", (1,) * 9),
    ],
)
def test_fields_that_cannot_be_kept(tmp_path: Path, field: Field) -> None:
    with pytest.raises(ValueError):
        save(tmp_path / "s", [field], [{field.name: np.zeros(1, np.int32)}])


@pytest.mark.usefixtures("alone")
def test_no_folder_of_samples_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match="no prepared samples"):
        Prepared.open(tmp_path / "absent")
    path = prepare(DATA, tmp_path).path
    facts = json.loads((path / "facts.json").read_text())
    (path / "facts.json").write_text(json.dumps({**facts, "version": 99}))
    with pytest.raises(SamplesError, match="is of version 99"):
        Prepared.open(path)


def test_samples_beyond_two_gibibytes(tmp_path: Path) -> None:
    """A sparse folder: what addresses have to hold, without writing it."""
    rows, width = 600 << 10, 1024
    small = {"varies": np.zeros((3, width), np.float32)}
    save(tmp_path / "s", [Field("varies", "<f4", (None, width))], [small] * 3)
    data = np.lib.format.open_memmap(tmp_path / "s/varies.npy", "w+", "<f4", ((rows + 6) * width,))
    data[-3 * width :] = 7
    del data
    np.save(tmp_path / "s/varies.shape.npy", np.array([[3, width], [rows, width], [3, width]]))
    prepared = Prepared.open(tmp_path / "s")
    assert prepared.nbytes("varies").max() > 2 << 30
    last = prepared[2]["varies"]
    assert last.shape == (3, width)
    assert (last == 7).all()
    assert prepared[1]["varies"].shape == (rows, width)
    # Only blocks of it are read for the checksum.
    assert (tmp_path / "s/varies.npy").stat().st_size > 8 * CHECKED_BYTES
    before = checksum(tmp_path / "s/varies.npy")
    with (tmp_path / "s/varies.npy").open("r+b") as file:
        file.seek(200)
        file.write(b"\1")
    assert checksum(tmp_path / "s/varies.npy") != before
