"""Records of runs for tests: a whole run.json of a Server test on two sockets, and changes to it.

`run_json` gives JSON values to be written, `record` the record that is read from them.
"""

from __future__ import annotations

from typing import Any

from launch.outcome.record.run import Record


def record(**changes: Any) -> Record:
    """The record of `run_json`."""
    return Record.from_json(run_json(**changes))


def result(**changes: Any) -> dict[str, Any]:
    """`result` of an INVALID test."""
    return {
        "valid": False,
        "metric": {"name": "completed samples", "value": 199.4, "unit": "samples/s"},
        "latencies_ns": {"p50": 5_000_000, "p90": 8_000_000, "p99": 17_000_000},
        "invalid": [{"reason": "the 99th percentile is late", "cure": "lower --qps"}],
        "errors": [],
        "warnings": [],
        "fields": {},
        **changes,
    }


def accuracy(**changes: Any) -> dict[str, Any]:
    """`accuracy` of a run over the whole validation set."""
    return {
        "text": "accuracy=76.000%, good=38000, total=50000",
        "value": 0.76,
        "good": 38_000,
        "total": 50_000,
        "target": None,
        "metric": "accuracy",
        **changes,
    }


def plan(**changes: Any) -> dict[str, Any]:
    """`plan` of two instances, each on its own socket."""
    return {
        "loadrun": [3],
        "instances": [
            {"index": 0, "processors": [0], "memory_node": 0},
            {"index": 1, "processors": [2], "memory_node": 1},
        ],
        "requested": [2, None],
        "fitted": False,
        "oversubscribed": False,
        "shared": False,
        "spins": True,
        "notices": [],
        **changes,
    }


def host(**changes: Any) -> dict[str, Any]:
    """`host`, of two sockets."""
    return {
        "name": "host",
        "architecture": "x86_64",
        "processor": "A processor",
        "sockets": 2,
        "nodes": 2,
        "cores": 4,
        "processors": 4,
        "quota": None,
        "memory_bytes": 2**34,
        "shm_free_bytes": 2**33,
        "governor": "performance",
        "features": ["avx2", "avx512_vnni"],
        "max_cpu_isa": None,
        "isa": "AVX512_CORE_VNNI",
        "vnni": True,
        "load_average": [0.1, 0.2, 0.3],
        **changes,
    }


def timeline(**changes: Any) -> dict[str, Any]:
    """`timeline` of 800 samples in four seconds."""
    return {
        "at_s": [0.0, 1.0, 2.0, 3.0, 4.0],
        "answered": [0, 190, 400, 610, 800],
        "outstanding": [0, 5, 3, 4, 0],
        "outstanding_max": [0, 9, 7, 8, 5],
        "latency_mean_us": [None, 5000.0, 6000.0, 5500.0, 5000.0],
        "latency_max_us": [None, 9000.0, 21000.0, 12000.0, 9000.0],
        "histogram": {"first": 192, "per_octave": 16, "counts": [100, 300, 350, 49, 0, 1]},
        "batch_sizes": [{"1": 50, "2": 150, "3": 50}, {"2": 150}],
        **changes,
    }


def death(**changes: Any) -> dict[str, Any]:
    """One of `deaths`."""
    return {
        "instance": 1,
        "at_s": 3.0,
        "end": "SIGKILL",
        "cause": "killed from outside",
        "last_words": "",
        "restarted": True,
        **changes,
    }


def run_json(**changes: Any) -> dict[str, Any]:
    """What run.json holds of a complete run."""
    return {
        "schema": 1,
        "run_id": "run1",
        "status": "COMPLETE",
        "error": None,
        "command": ["loadrun", "run", "resnet50"],
        "started": "2026-01-02T03:04:05+00:00",
        "model": "resnet50",
        "scenario": "Server",
        "mode": "PerformanceOnly",
        "audit": None,
        "round": None,
        "engine": "onednn",
        "precision": "int8",
        "batch_size": 4,
        "in_flight": 2,
        "policy": "pull",
        "in_process": False,
        "tuned": None,
        "plan": plan(),
        "pinning": {"method": "numactl", "memory": True},
        "host": host(),
        "environment": {},
        "preloaded": [],
        "topology": [[p, p, p // 2, p // 2, p - p % 2, 0, 1, 0] for p in range(4)],
        "versions": {"python": "3.11.7", "loadrun": "0.1.0", "torch": "2.13.0"},
        "timings_s": {
            "prepared": 1.0,
            "phases": {"running": 2.0},
            "loadrun": {"test": 4},
            "total": 9.0,
        },
        "checks": [],
        "data": {"name": "synthetic", "sha256": "ab" * 32, "synthetic": True, "samples": 2048},
        "labels_from": "synthetic",
        "weights": {"name": "synthetic", "sha256": "cd" * 32, "synthetic": True},
        "calibration": None,
        "calibration_sha256": None,
        "notes": [],
        "artifact": "resnet50-onednn-b4-t1-0123",
        "synthetic": True,
        "disturbance": None,
        "not_quiet": [],
        "bindings": {
            "loadrun": {"processors": [3], "memory_policy": "default"},
            "instances": {
                "0": {"processors": [0], "memory_policy": "bind:0"},
                "1": {"processors": [2], "memory_policy": "bind:1"},
            },
        },
        "deaths": [],
        "alarm": None,
        "poison": None,
        "removed_segments": [],
        "engines": {},
        "settings": {
            "server_target_qps": 200.0,
            "server_target_latency_ns": 15_000_000,
            "server_target_latency_percentile": 0.99,
            "min_duration_ms": 4000,
            "min_query_count": 1,
        },
        "target_source": "option",
        "expected_duration_s": 4.0,
        "duration_s": 4.2,
        "instances": [
            {"instance": 0, "samples": 500, "batches": 250, "busy_s": 3.5, "rate": 150.0},
            {"instance": 1, "samples": 300, "batches": 150, "busy_s": 2.1, "rate": 140.0},
        ],
        "standalone_rate": 290.0,
        "harness_efficiency": None,
        "redispatched_samples": 0,
        "timeline": timeline(),
        "clock": [],
        "times_count": True,
        "result": result(),
        "official": False,
        "unofficial_reasons": ["--fast"],
        "history": [],
        **changes,
    }
