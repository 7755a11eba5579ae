"""Checks of the models that were compiled for this machine; only their headers are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from launch.machine.doctor.finding import Finding, Level, ok
from models import artifact
from netrun.engines.onednn import library, references
from netrun.engines.onednn.pack import KIND, machine_facts

CHECK = "kernels"


def check_artifacts(cache: Path) -> Iterator[Finding]:
    """Those in `cache` for which oneDNN, as it is here, has nothing but slow kernels."""
    compiled = []
    for path in sorted((cache / "artifacts").glob("*-onednn-*")):
        # A damaged file or one of another version is rebuilt before it is used.
        with suppress(artifact.ArtifactError, KeyError, TypeError):
            facts = artifact.read_facts(path, KIND)
            compiled.append((path.name, facts["references"], facts["machine"]))
    slow = [(name, found) for name, found, machine in compiled if found and _here(machine)]
    for name, found in slow:
        yield Finding(
            CHECK,
            Level.MATTERS,
            f"{name}: only oneDNN's reference kernel for {references.named(found)}",
            "it may take a thousand times longer than others: low rates, long batches",
            f"--engine pytorch, or export {library.LIBRARY}=FILE of a newer oneDNN 3",
        )
    if compiled and not slow:
        count = len(compiled)
        yield ok(CHECK, f"{count} compiled model{'s' * (count != 1)}, no reference kernel in use")


def _here(machine: dict[str, Any]) -> bool:
    """Whether an artifact of these facts would be used on this machine."""
    try:
        return machine == machine_facts(library.load(), machine["batch_size"], machine["threads"])
    except library.OneDNNError:
        return False
