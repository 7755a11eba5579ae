"""Whole runs: loadrun processes with real LoadGen, workers in their own processes."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loadrun_harness import (
    ROOT,
    MakeRun,
    RingRun,
    make_config,
    make_run,
    make_samples,
    segments,
    wait_for,
)
from private_shm import in_private_shm

from loadrun.config import LoadrunConfig, Overrides
from loadrun.dispatch import policies
from shm.control import Blame, ControlBlock, InstanceRecord, InstanceState, RunState
from shm.segment import SegmentMissing

__all__ = ["make_config", "make_run"]  # fixtures of this module
BRIEF = Overrides(min_duration_s=0.4, min_query_count=1)
"""Where a test tells the same however long it lasts."""


def answered(entries: list[dict[str, Any]]) -> dict[int, int]:
    """Sample index -> int32 answer of an accuracy log; every index once."""
    answers: dict[int, int] = {}
    for entry in entries:
        (value,) = struct.unpack("<i", bytes.fromhex(entry["data"]))
        assert entry["qsl_idx"] not in answers
        answers[entry["qsl_idx"]] = value
    return answers


def assert_timeline_is_whole(report: dict[str, Any], samples_per_latency: int = 1) -> None:
    """All samples are in it; of the latencies of quick tests, a part."""
    timeline = report["timeline"]
    samples = sum(instance["samples"] for instance in report["instances"])
    sizes = [{int(n): k for n, k in found.items()} for found in timeline["batch_sizes"]]
    assert timeline["answered"][-1] == samples
    assert timeline["at_s"] == sorted(timeline["at_s"])
    latencies = sum(timeline["histogram"]["counts"])
    assert 0 < latencies <= samples // samples_per_latency
    assert latencies == samples or report["scenario"] != "Offline"
    for instance, found in zip(report["instances"], sizes, strict=True):
        assert sum(found.values()) == instance["batches"]
        assert sum(n * k for n, k in found.items()) == instance["samples"]


def test_offline_is_valid_and_counted(make_run: MakeRun) -> None:
    report = make_run().run("--rate", "20000")
    assert report["loadgen"]["valid"] in (True, False)
    assert report["target_source"] == "measured"
    assert report["settings"]["offline_expected_qps"] == pytest.approx(1.1 * 40000)
    assert sum(i["samples"] for i in report["instances"]) == int(1.1 * 1.1 * 40000)
    assert all(i["samples"] > 0 for i in report["instances"])
    assert report["harness_efficiency"] > 0
    assert_timeline_is_whole(report)
    assert report["loadgen"]["errors"] == []
    assert set(report["timings_s"]) == {"create", "load", "warm_up", "test", "stop"}
    assert "minimum duration 1 s, below 600 s" in report["unofficial"]


@pytest.mark.parametrize("policy", policies.NAMES)
def test_offline_is_valid_under_every_policy(make_run: MakeRun, policy: str) -> None:
    # 2 ms a sample whatever the processor does, so that the rate is known beforehand.
    run = make_run(policy=policy, overrides=BRIEF)
    report = run.run("--rate", "500", "--service-s", "0.002")
    assert report["loadgen"]["valid"] is True
    assert report["loadgen"]["metric"]["unit"] == "samples/s"
    assert not (Path(run.config.log_dir) / "mlperf_log_trace.json").exists()


def test_server_is_valid(make_run: MakeRun) -> None:
    overrides = Overrides(
        min_duration_s=2.0, min_query_count=1, target_qps=400, target_latency_ms=1000
    )
    report = make_run(scenario="server", overrides=overrides).run()
    assert report["target_source"] == "option"
    assert report["loadgen"]["valid"] is True
    assert report["settings"]["server_target_latency_ns"] == 1_000_000_000
    assert_timeline_is_whole(report)
    assert "latency limit 1000 ms instead of 15 ms" in report["unofficial"]


@pytest.mark.parametrize("instances", [1, 2])
def test_single_stream_through_a_ring_is_valid(make_run: MakeRun, instances: int) -> None:
    run = make_run(scenario="SingleStream", batch_size=1, instances=instances, overrides=BRIEF)
    report = run.run("--rate", "50000")
    assert report["loadgen"]["valid"] is True
    assert report["loadgen"]["metric"]["unit"] == "ms"
    assert report["loadgen"]["latencies_ns"]["p90"] > 0


def test_multi_stream_spreads_each_query(make_run: MakeRun) -> None:
    overrides = Overrides(min_duration_s=1.0, min_query_count=700)
    report = make_run(scenario="multi-stream", overrides=overrides).run("--rate", "100000")
    assert report["loadgen"]["valid"] is True
    first, second = report["instances"]
    assert first["samples"] == second["samples"] == 4 * first["batches"]
    assert_timeline_is_whole(report, samples_per_latency=8)
    assert report["timeline"]["batch_sizes"] == [{"4": first["batches"]}] * 2


@pytest.mark.parametrize("scenario", ["Offline", "Server", "SingleStream", "MultiStream"])
def test_accuracy_answers_every_sample_once(make_run: MakeRun, scenario: str) -> None:
    # Two and a half performance sets, so that the arena is refilled.
    run = make_run(
        scenario=scenario,
        mode="AccuracyOnly",
        model="mobilenet",
        sample_count=160,
        performance_sample_count=64,
    )
    report = run.run("--rate", "5000")
    assert report["loadgen"]["valid"] is None
    assert report["unofficial"] == []
    entries = run.accuracy_log()
    if scenario == "MultiStream":
        # LoadGen fills the last query of a set up with its first samples.
        entries = list({entry["qsl_idx"]: entry for entry in entries}.values())
    assert answered(entries) == {index: index for index in range(160)}


def test_submission_run_gives_accuracy_and_performance(make_run: MakeRun) -> None:
    run = make_run(mode="SubmissionRun", overrides=BRIEF)
    report = run.run("--rate", "500", "--service-s", "0.002")
    assert report["loadgen"]["valid"] is True
    assert answered(run.accuracy_log()) == {index: index for index in range(64)}


def test_find_peak_performance_ends(make_run: MakeRun) -> None:
    # 20 ms a sample on two instances cannot hold more than 100 queries/s.
    overrides = Overrides(
        min_duration_s=0.3, min_query_count=1, target_qps=25, target_latency_ms=60
    )
    run = make_run(scenario="Server", mode="FindPeakPerformance", overrides=overrides, batch_size=1)
    report = run.run("--service-s", "0.02", "--rate", "50")
    assert report["mode"] == "FindPeakPerformance"
    assert report["loadgen"]["metric"]["value"] < 200
    assert any("not a result" in reason for reason in report["unofficial"])


def test_data_set_smaller_than_the_performance_set(make_run: MakeRun) -> None:
    report = make_run(sample_count=10, overrides=BRIEF).run("--rate", "500", "--service-s", "0.002")
    assert report["settings"]["performance_sample_count_override"] == 10
    assert report["loadgen"]["valid"] is True
    assert any("10 samples are served" in note for note in report["notes"])


def test_user_conf_wins_over_the_measured_rate(make_run: MakeRun, tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    path.write_text("resnet50.Offline.target_qps = 600\n*.Offline.min_duration = 5000\n")
    report = make_run(user_conf=str(path)).run("--rate", "99999")
    assert report["target_source"] == "user.conf"
    assert report["settings"]["offline_expected_qps"] == 600
    # The command line's minimum duration of 1 s wins over user.conf's.
    assert report["settings"]["min_duration_ms"] == 1000
    assert sum(i["samples"] for i in report["instances"]) == 660


def test_audit_config_is_applied_by_loadgen(make_run: MakeRun, tmp_path: Path) -> None:
    path = tmp_path / "audit.config"
    path.write_text(
        "*.*.mode = 2\n*.*.accuracy_log_rng_seed = 720381539243781796\n"
        "*.*.accuracy_log_sampling_target = 64\n"
    )
    overrides = Overrides(min_duration_s=1.0, min_query_count=1, target_qps=500)
    run = make_run(mode="AccuracyOnly", audit_config=str(path), overrides=overrides)
    report = run.run()
    assert report["mode"] == "PerformanceOnly"
    assert report["loadgen"]["mode"] == "PerformanceOnly"
    logged = run.accuracy_log()
    assert 0 < len(logged) < 550
    assert all(struct.unpack("<i", bytes.fromhex(e["data"]))[0] == e["qsl_idx"] for e in logged)


@pytest.mark.parametrize("restart", [False, True])
def test_a_dead_instance_loses_nothing(make_run: MakeRun, tmp_path: Path, restart: bool) -> None:
    run = make_run(mode="AccuracyOnly", sample_count=400)
    held = tmp_path / "held"
    run.start_worker(1, "--hold", str(held))
    run.start_loadrun()
    run.start_worker(0, "--service-s", "0.005")
    wait_for(held.exists)
    run.workers[0].kill()
    run.workers[0].wait()
    control = ControlBlock.attach(run.config.run_id)
    record = control.instance(1)
    generation = record.generation
    record.state = InstanceState.DEAD
    wait_for(lambda: record.generation == generation + 1)
    assert record.state == InstanceState.ABSENT
    if restart:
        run.start_worker(1)
    code, _, err = run.finish()
    assert (code, err) == (0, "")
    report = run.report()
    # The dead one held two batches of four.
    assert report["redispatched"] == 8
    assert (report["instances"][1]["samples"] > 0) == restart
    assert_timeline_is_whole(report)
    assert answered(run.accuracy_log()) == {index: index for index in range(400)}
    assert segments(run.config.run_id) == []
    control.close()


def test_no_instance_left_fails_the_run(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(instances=1)
    held = tmp_path / "held"
    run.start("--hold", str(held))
    wait_for(held.exists)
    run.workers[0].kill()
    run.workers[0].wait()
    control = ControlBlock.attach(run.config.run_id)
    control.instance(0).state = InstanceState.DEAD
    control.run_state = RunState.STOPPING
    code, _, err = run.finish()
    assert code == 4
    assert "no instance is left" in err
    assert run.report()["status"] == "FAILED"
    assert segments(run.config.run_id) == []
    control.close()


def test_a_sample_that_instances_die_of_ends_a_run_of_single_queries(
    make_run: MakeRun, tmp_path: Path
) -> None:
    # LoadGen's own thread collects the answers, and finds out.
    run = make_run(instances=1, scenario="SingleStream")
    run.start_loadrun()

    def die(name: str) -> InstanceRecord:
        held = tmp_path / name
        worker = run.start_worker(0, "--hold", str(held))
        wait_for(held.exists)
        worker.kill()
        worker.wait()
        record = ControlBlock.attach(run.config.run_id).instance(0)
        record.blame = Blame.FULL
        record.state = InstanceState.DEAD
        return record

    once = die("once")
    wait_for(lambda: once.generation == 1)
    die("twice")
    code, _, err = run.finish()
    assert code == 4
    report = run.report()
    assert report["status"] == "FAILED"
    (sample,) = report["poison"]["samples"]
    assert report["poison"]["deaths"] == [[0, 0], [0, 1]]
    said = f"sample {sample} ends the instances that work on it; died of it: 0, 0"
    assert (report["error"], err) == (said, f"loadrun: error: {said}\n")
    assert segments(run.config.run_id) == []


def test_an_instance_that_cannot_load_is_named(make_run: MakeRun) -> None:
    run = make_run()
    run.start("--fail-loading")
    code, _, err = run.finish()
    assert code == 4
    assert "ended (FAILED) before it had loaded its model" in err
    assert "instance" in run.report()["error"]
    assert segments(run.config.run_id) == []


def test_an_absent_instance_times_out(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(start_timeout_s=0.2)
    path = tmp_path / "c.json"
    path.write_text(run.config.to_json())
    done = subprocess.run(
        [sys.executable, "-m", "loadrun", str(path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 4
    assert "instance 0 has not loaded its model within 0.2 s" in done.stderr
    assert segments(run.config.run_id) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_at_once(
    make_run: MakeRun, tmp_path: Path, number: signal.Signals
) -> None:
    run = make_run()
    held = tmp_path / "held"
    run.start("--hold", str(held))
    wait_for(held.exists)
    control = ControlBlock.attach(run.config.run_id)
    assert run.loadrun is not None
    run.loadrun.send_signal(number)
    code, _, _ = run.finish(5)
    assert code == 130
    assert control.run_state == RunState.STOPPING
    assert segments(run.config.run_id) == []
    assert run.report()["status"] == "INTERRUPTED"
    control.close()


def test_a_signal_while_instances_load(make_run: MakeRun) -> None:
    run = make_run(instances=1)
    run.start()
    run.workers[0].kill()
    wait_for(lambda: len(segments(run.config.run_id)) >= 3)
    assert run.loadrun is not None
    run.loadrun.send_signal(signal.SIGTERM)
    assert run.finish(5)[0] == 130
    assert segments(run.config.run_id) == []


def test_loadrun_leaves_when_its_parent_is_killed(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(instances=1)
    path = tmp_path / "c.json"
    path.write_text(run.config.to_json())
    start = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'loadrun', sys.argv[1]])"
    parent = subprocess.Popen([sys.executable, "-c", start, str(path)], cwd=ROOT)
    wait_for(lambda: len(segments(run.config.run_id)) >= 3)
    wait_for(lambda: f"loadrun.{run.config.run_id}.control" in segments(run.config.run_id))
    parent.kill()
    parent.wait()
    wait_for(lambda: segments(run.config.run_id) == [])
    wait_for(lambda: Path(run.config.report).exists())
    assert run.report()["status"] == "INTERRUPTED"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": "pul"}, "unknown policy 'pul' (nearest: pull"),
        ({"samples": "/nonexistent"}, "/nonexistent: no prepared samples (No such file"),
        ({"user_conf": "/nonexistent.conf"}, "cannot read user.conf /nonexistent.conf"),
    ],
)
def test_bad_input_is_one_line(
    make_config: Callable[..., LoadrunConfig], tmp_path: Path, change: dict[str, str], message: str
) -> None:
    config = make_config(**change)
    if "samples" not in change:
        make_samples(Path(config.samples), config.sample_count)
    path = tmp_path / "c.json"
    path.write_text(config.to_json())
    done = subprocess.run(
        [sys.executable, "-m", "loadrun", str(path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert segments(config.run_id) == []


def test_a_small_dev_shm_is_the_users_to_mend(
    make_config: Callable[..., LoadrunConfig], tmp_path: Path
) -> None:
    config = make_config()
    make_samples(Path(config.samples), config.sample_count)
    path = tmp_path / "c.json"
    path.write_text(config.to_json())
    done = subprocess.run(
        [*in_private_shm("size=4k"), sys.executable, "-m", "loadrun", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "(12288 bytes) of shared memory" in done.stderr
    assert "(4096 bytes) free" in done.stderr
    assert "--shm-size" in done.stderr
    assert not (Path(config.log_dir) / "mlperf_log_summary.txt").exists()


def test_torch_is_not_imported() -> None:
    code = "import loadrun.process, sys; raise SystemExit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


IN_PROCESS = """
import sys
import time
import numpy as np
from pathlib import Path
from loadrun.config import LoadrunConfig
from loadrun.process import run_in_process

began = time.monotonic()

def engine(positions, arena):
    # The warm-up lasts a second.
    if {broken!r} and time.monotonic() > began + 3:
        raise ValueError("engine broke")
    time.sleep(0.0005)
    rows = arena.columns["pixels"].reshape(arena.slots, -1)[positions, :4]
    return np.ascontiguousarray(rows).view(np.int32), 4

sys.exit(run_in_process(LoadrunConfig.from_json(Path(sys.argv[1]).read_text()), engine))
"""


def in_process(
    run: RingRun, broken: bool = False, before: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    path = run.directory / "c.json"
    path.write_text(run.config.to_json())
    return subprocess.run(
        [*before, sys.executable, "-c", IN_PROCESS.format(broken=broken), str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("scenario", ["Offline", "SingleStream"])
def test_whole_sets_are_as_many_samples_as_foreseen(make_run: MakeRun, scenario: str) -> None:
    """3d-unet: mlperf.conf asks for one permutation of all samples after the other."""
    overrides = Overrides(min_duration_s=0.0, min_query_count=44)
    run = make_run(model="3d-unet", scenario=scenario, sample_count=43, overrides=overrides)
    report = run.run()
    assert report["expected_samples"] == 86
    assert sum(instance["samples"] for instance in report["instances"]) == 86
    assert report["loadgen"]["errors"] == []


@pytest.mark.parametrize("mode", ["PerformanceOnly", "AccuracyOnly"])
def test_single_stream_in_one_process(make_run: MakeRun, mode: str) -> None:
    run = make_run(scenario="SingleStream", mode=mode, instances=1, batch_size=1, overrides=BRIEF)
    done = in_process(run)
    assert (done.returncode, done.stderr) == (0, "")
    report = run.report()
    assert report["status"] == "COMPLETE"
    assert len(report["instances"]) == 1
    assert report["instances"][0]["samples"] >= 64
    assert_timeline_is_whole(report)
    if mode == "AccuracyOnly":
        assert answered(run.accuracy_log()) == {index: index for index in range(64)}
    else:
        assert report["loadgen"]["valid"] is True


def test_one_process_tells_those_who_watch_how_it_goes(make_run: MakeRun) -> None:
    run = make_run(scenario="SingleStream", instances=1, batch_size=1)
    run_id = run.config.run_id
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(in_process, run)
        while True:
            # Its warm-up lasts a second: it cannot have come and gone unseen.
            with contextlib.suppress(SegmentMissing):
                control = ControlBlock.attach(run_id)
                break
            assert not done.done(), done.result().stderr
            time.sleep(0.005)
        assert done.result().returncode == 0
    with control:
        record, (served,) = control.instance(0), run.report()["instances"]
        assert control.run_state is RunState.STOPPING
        assert record.state is InstanceState.STOPPED
        assert (record.samples, record.batches) == (served["samples"], served["batches"])
        assert record.busy_ns == pytest.approx(1e9 * served["busy_s"], abs=1)
        assert record.heartbeat_ns
        assert record.rate == served["rate"]
        p50_ns, p90_ns, p99_ns = control.latencies_ns
        assert 500_000 * 0.97 < p50_ns <= p90_ns <= p99_ns
    with pytest.raises(SegmentMissing):
        ControlBlock.attach(run_id)


def test_one_process_needs_no_shared_memory(make_run: MakeRun) -> None:
    run = make_run(scenario="SingleStream", instances=1, batch_size=1, overrides=BRIEF)
    done = in_process(run, before=in_private_shm("nr_inodes=1"))
    assert (done.returncode, done.stderr) == (0, "")
    assert run.report()["instances"][0]["samples"] >= 64


SCATTERED = """
import sys
import numpy as np
from pathlib import Path
from loadrun.config import LoadrunConfig
from loadrun.process import run_in_process

def engine(positions, arena):
    rows = arena.columns["pixels"].reshape(arena.slots, -1)[positions, :4]
    numbers = np.ascontiguousarray(rows).view(np.int32)[:, 0]
    if sys.argv[2] == "bytes":
        return numbers.tobytes(), 4
    if sys.argv[2] == "scattered array":
        return np.stack([numbers, numbers], 1)[:, 0], 4
    # Each sample's answer has a length of its own.
    answers = [number.tobytes() + bytes(number % 3) for number in numbers]
    return b"".join(answers), [len(answer) for answer in answers]

sys.exit(run_in_process(LoadrunConfig.from_json(Path(sys.argv[1]).read_text()), engine))
"""


@pytest.mark.parametrize("kind", ["bytes", "scattered array", "lengths"])
def test_answers_of_every_kind_in_one_process(make_run: MakeRun, kind: str) -> None:
    run = make_run(scenario="MultiStream", mode="AccuracyOnly", instances=1, batch_size=3)
    path = run.directory / "c.json"
    path.write_text(run.config.to_json())
    subprocess.run([sys.executable, "-c", SCATTERED, str(path), kind], cwd=ROOT, check=True)
    logged = {entry["qsl_idx"]: bytes.fromhex(entry["data"]) for entry in run.accuracy_log()}
    extra = 3 if kind == "lengths" else 1
    assert logged == {i: struct.pack("<i", i) + bytes(i % extra) for i in range(64)}


def test_answers_shorter_than_their_lengths_fail_the_run(make_run: MakeRun) -> None:
    run = make_run(scenario="SingleStream", instances=1, batch_size=1)
    path = run.directory / "c.json"
    path.write_text(run.config.to_json())
    script = SCATTERED.replace("numbers.tobytes(), 4", "numbers.tobytes(), 5")
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), "bytes"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "answers of 5 bytes in 4" in done.stderr


def test_an_engine_that_raises_fails_the_run(make_run: MakeRun) -> None:
    overrides = Overrides(min_duration_s=4.0, min_query_count=1)
    run = make_run(scenario="SingleStream", instances=1, batch_size=1, overrides=overrides)
    done = in_process(run, broken=True)
    assert done.returncode == 4
    assert "engine broke" in done.stderr
    assert run.report()["status"] == "FAILED"


def test_answers_of_an_arena_row(tmp_path: Path) -> None:
    samples = make_samples(tmp_path / "s", 300)
    assert samples[299]["pixels"].ravel()[:4].view(np.int32)[0] == 299
