"""Every parser of ours against broken and hostile input.

It may take a mutant for good, or refuse it with its own error, whose message is one line that names
the file. Any other exception would be a traceback for the user.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutants import mutants
from PIL import Image
from records import run_json

from base.errors import ConfigError, InputError
from launch.outcome.record.history import history_after
from launch.report.page import run_page
from launch.report.sources import build, load_run
from loadrun.config import LoadrunConfig
from loadrun.library import LibraryError, open_samples
from loadrun.logs import LogError, parse_result
from loadrun.report import as_text
from loadrun.user_conf import UserConfError, parse_user_conf
from loadrun.verdict import explain
from models import artifact, program
from models.imagenet.accuracy import accuracy
from models.imagenet.labels import read_labels
from models.imagenet.preprocess import decode, opencv_square, torchvision_square
from models.samples import save
from models.task import Field
from netrun.config import NetrunConfig
from shm import control
from shm.arena import ArenaField, ArenaLayout, SampleArena
from shm.control import ControlBlock
from shm.reclaim import find_runs
from shm.ring import RingGeometry, Rings
from shm.segment import Segment, ShmError, segment_name

MUTANTS = 150

USER_CONF = b"""\
# what LoadGen shall do
*.Offline.min_duration = 600000
resnet50.Server.target_latency = 15
resnet50.*.target_qps = 12.5
*.SingleStream.target_latency = 0.5
"""
LABELS = b"a.jpeg 1\nb.jpeg 999\n\nc.jpeg 0\n"
DETAIL = "".join(
    f":::MLLOG {json.dumps({'key': key, 'value': value, 'metadata': {'is_error': False}})}\n"
    for key, value in {
        "effective_scenario": "Server",
        "effective_test_mode": "PerformanceOnly",
        "result_validity": "INVALID",
        "result_invalid_reason": "too slow. too few.",
        "result_completed_samples_per_sec": 12.5,
        "result_99.00_percentile_latency_ns": 12345,
        "result_mean_latency_ns": 777,
        "effective_target_latency_percentile": 0.99,
        "effective_target_latency_ns": 15000000,
        "result_perf_constraints_met": False,
        "result_min_duration_met": False,
        "result_min_queries_met": False,
        "early_stopping_met": False,
    }.items()
).encode()
ANSWERS = json.dumps(
    [{"seq_id": i, "qsl_idx": i, "data": f"0{i}000000"} for i in range(3)]
).encode()


def _png(**options: Any) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(file, **options)
    return file.getvalue()


def _loadrun_config() -> bytes:
    return (
        LoadrunConfig(
            run_id="abcd1", model="resnet50", scenario="Server", mode="PerformanceOnly",
            log_dir="logs", samples="s.npy", sample_count=3, report="r.json", processors=[0, 1],
        )
        .to_json()
        .encode()
    )  # fmt: skip


def _netrun_config() -> bytes:
    return (
        NetrunConfig(
            run_id="abcd1", instance=0, model="resnet50", engine="null", precision="int8",
            artifact="a", batch_size=4, threads=1, report="r.json", processors=[0],
        )
        .to_json()
        .encode()
    )  # fmt: skip


def _squares(path: Path) -> None:
    image = decode(path)
    if image.width * image.height < 1_000_000:
        torchvision_square(image)
        opencv_square(image)


def _result(path: Path) -> None:
    explain(parse_result(path.parent))


def _page(path: Path) -> None:
    source = load_run(path)
    build(source, run_page)
    history_after(source.record)


@dataclass(frozen=True)
class Case:
    """A parser, an input that it takes, and the error with which it refuses others."""

    name: str
    good: bytes
    parse: Callable[[Path], object]
    error: type[Exception]
    count: int = MUTANTS


CASES = [
    Case("user.conf", USER_CONF, parse_user_conf, UserConfError),
    Case("labels.txt", LABELS, read_labels, InputError),
    Case("mlperf_log_detail.txt", DETAIL, _result, LogError),
    Case("mlperf_log_accuracy.json", ANSWERS, lambda p: accuracy(p, [0, 1, 2]), InputError),
    Case("loadrun.config.json", _loadrun_config(), LoadrunConfig.load, ConfigError),
    Case("netrun.config.json", _netrun_config(), NetrunConfig.load, ConfigError),
    Case("run.json", as_text(run_json()).encode(), _page, InputError),
    Case("image.png", _png(format="png"), _squares, InputError, 40),
    Case("image.jpeg", _png(format="jpeg"), _squares, InputError, 40),
    Case("image.webp", _png(format="webp"), _squares, InputError, 40),
    Case("image.bmp", _png(format="bmp"), _squares, InputError, 40),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_is_taken_or_refused_in_one_line(tmp_path: Path, case: Case) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.good)
    case.parse(path)
    refused = 0
    for mutant in mutants(case.good, case.count):
        path.write_bytes(mutant)
        refused += refuses(case, path)
    assert refused > 10
    path.unlink()
    assert refuses(case, path)
    path.mkdir()
    assert refuses(case, path)


def refuses(case: Case, path: Path) -> bool:
    try:
        case.parse(path)
    except case.error as error:
        told = str(error)
        assert str(path) in told
        assert "\n" not in told
        assert len(told) < 1000
        return True
    return False


def test_prepared_samples_are_taken_or_refused(tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    fields = [Field("pixels", "|u1", (2, 2, 3)), Field("ids", "<i4", (None, 2))]
    samples: list[dict[str, Any]] = [
        {"pixels": np.zeros((2, 2, 3), np.uint8), "ids": np.zeros((i, 2), np.int32)}
        for i in range(4)
    ]
    save(folder, fields, samples)
    files = sorted(folder.iterdir())
    assert len(files) == 5
    for file in files:
        good, refused = file.read_bytes(), 0
        for mutant in mutants(good, MUTANTS):
            file.write_bytes(mutant)
            try:
                for sample in open_samples(folder, 4):
                    assert sample["ids"].shape[1] == 2
            except LibraryError as error:
                refused += 1
                assert str(folder) in str(error)
                assert "\n" not in str(error)
                assert len(str(error)) < 1000
        assert refused > 10
        file.write_bytes(good)
    open_samples(folder, 4)


PROGRAM = program.Program(
    input="in",
    output="out",
    tensors={"in": program.Tensor((8, 8, 3), "u8", 0.1), "out": program.Tensor((4,), "f32")},
    operations=(program.Linear("fc", "in", "out"),),
    constants={"fc.weight": np.ones((4, 192), np.int8), "fc.bias": np.ones(4, np.float32)},
)


def test_a_program_is_taken_or_refused(tmp_path: Path) -> None:
    """Also where its checksums are right: a header may be written by an enemy."""
    path = tmp_path / "good"
    PROGRAM.save(path, {"fact": 1})
    program.load(path)
    good = path.read_bytes()
    size = int.from_bytes(good[8:16], "little")
    header, data = good[artifact.HEADER : artifact.HEADER + size], good[-4096:]
    case = Case("program", good, program.load, artifact.ArtifactError)
    for mutant in mutants(good, MUTANTS):
        path.write_bytes(mutant)
        refuses(case, path)
    for mutant in mutants(header, 3 * MUTANTS):
        whole = artifact.MAGIC + len(mutant).to_bytes(8, "little")
        whole += hashlib.sha256(mutant).digest() + mutant
        path.write_bytes(whole + b"\0" * (-len(whole) % artifact.PAGE) + data)
        refuses(case, path)


ARENA = ArenaLayout(
    4, (ArenaField("pixels", "|u1", (2, 2, 3)), ArenaField("ids", "<i4", (None,))), 640
)
SEGMENTS: dict[str, tuple[str, Callable[[str], Any], Callable[[str], Any]]] = {
    "control": ("control", lambda run: ControlBlock.create(run, 2), ControlBlock.attach),
    "rings": ("rings", lambda run: Rings.create(run, RingGeometry(2, 3, 4, 4)), Rings.attach),
    "arena": (
        "arena",
        lambda run: SampleArena.create(run, ARENA),
        SampleArena.attach,
    ),
}


@pytest.mark.parametrize("name", list(SEGMENTS))
def test_a_segment_is_attached_or_refused(name: str) -> None:
    part, create, attach = SEGMENTS[name]
    run_id = f"fuzz{secrets.token_hex(6)}"
    with create(run_id), Segment.attach(segment_name(run_id, part)) as segment:
        head = bytes(segment.buf[:512])
        attach(run_id).close()
        for mutant in mutants(head, MUTANTS):
            segment.buf[:512] = mutant[:512].ljust(512, b"\0")
            try:
                attach(run_id).close()
            except ShmError as error:
                assert run_id in str(error)
            if part == control.PART:
                find_runs()
        segment.buf[:512] = head
