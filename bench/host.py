"""The machine and the versions that a benchmark's figures were made with."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from launch.instructions import features

PACKAGES = ("torch", "torchao", "onednn-cpu-gomp", "openvino", "nncf", "onnxruntime")


def host() -> dict[str, Any]:
    """Processor and its instruction sets, kernel and versions, as JSON values."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    processor = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")
    return {
        "processor": processor,
        "features": list(features()),
        "kernel": platform.release(),
        "versions": versions,
    }
