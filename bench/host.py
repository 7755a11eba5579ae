"""The machine and the versions that a benchmark's figures were measured with."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

from base.processors import CPUINFO, processor_name
from launch.machine.instructions import features

PACKAGES = ("torch", "torchao", "onednn-cpu-gomp", "openvino", "nncf", "onnxruntime")


def host() -> dict[str, Any]:
    """Processor and its instruction sets, kernel and versions, as JSON values."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "processor": processor_name(CPUINFO.read_text(encoding="utf-8")),
        "features": list(features()),
        "kernel": platform.release(),
        "versions": versions,
    }
