"""The description of a system that a submission holds (systems/<system>.json).

Fields: tools/submission/submission_checker/constants.py of mlcommons/inference and MLCommons'
submission guidelines.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
from pathlib import Path
from typing import Any

import psutil

from base.errors import InputError
from base.processors import caches
from launch.machine.host import versions
from launch.machine.topology import Topology
from launch.submission.rules import DIVISIONS, SYSTEM_TYPES

STATUSES = ("available", "preview", "rdi")
NO_ACCELERATOR = "N/A"
MAY_BE_EMPTY = (
    "accelerator_frequency",
    "accelerator_interconnect_topology",
    "accelerator_on-chip_memories",
    "host_processor_caches",
    "host_processor_frequency",
    "host_processor_interconnect",
    "hw_notes",
    "sw_notes",
    "system_type_detail",
)
"""Fields that must be there and may say nothing."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def describe(topology: Topology, root: Path = Path("/")) -> dict[str, str]:
    """Return the description of this machine; what a person must fill is "".

    `root` is where /sys and /etc are read.
    """
    sockets = topology.sockets
    cores = len({p.core for p in topology.processors})
    found = versions()
    packages = ("loadrun", "mlcommons-loadgen", "torch", "torchao")
    return {
        "submitter": "",
        "division": "",
        "status": "",
        "system_type": "",
        "system_type_detail": "",
        "system_name": _text(root / "sys/class/dmi/id/product_name"),
        "number_of_nodes": "1",
        "host_processor_model_name": topology.name,
        "host_processors_per_node": str(sockets),
        "host_processor_core_count": str(cores // sockets),
        "host_processor_frequency": _frequency(topology, root),
        "host_processor_caches": _caches(topology, root),
        "host_processor_interconnect": "N/A" if sockets == 1 else "",
        "host_memory_capacity": f"{psutil.virtual_memory().total / 2**30:.0f} GB",
        "host_memory_configuration": "",
        "host_storage_capacity": f"{shutil.disk_usage(root).total / 2**30:.0f} GB",
        "host_storage_type": _storage(root),
        "host_networking": "",
        "host_networking_topology": "N/A",
        "host_network_card_count": str(_network_cards(root)),
        "accelerators_per_node": "0",
        "accelerator_model_name": NO_ACCELERATOR,
        "accelerator_memory_capacity": NO_ACCELERATOR,
        "accelerator_memory_configuration": NO_ACCELERATOR,
        "accelerator_frequency": "",
        "accelerator_host_interconnect": NO_ACCELERATOR,
        "accelerator_interconnect": NO_ACCELERATOR,
        "accelerator_interconnect_topology": "",
        "accelerator_on-chip_memories": "",
        "cooling": "",
        "framework": f"loadrun {found.get('loadrun', '')}, int8 kernels of oneDNN",
        "operating_system": _operating_system(root),
        "other_software_stack": ", ".join(
            f"{name} {found[name]}" for name in ("python", "kernel", *packages) if name in found
        ),
        "hw_notes": "",
        "sw_notes": "",
    }


TELLING = (
    "host_processor_model_name",
    "host_processors_per_node",
    "host_processor_core_count",
    "host_memory_capacity",
)
"""Fields by which the description of another machine shows."""
COUNTS = ("number_of_nodes", "accelerators_per_node")
"""Fields that the submission checker multiplies."""


def unlike_here(description: dict[str, Any], topology: Topology) -> list[tuple[str, str, str]]:
    """Return (field, what it says, what this machine says) where the two differ."""
    here = describe(topology)
    return [
        (field, description[field], here[field])
        for field in TELLING
        if description[field] != here[field]
    ]


def unfilled(description: dict[str, Any]) -> list[str]:
    """Return the names of the fields that need an answer and have none."""
    return [k for k, v in description.items() if k not in MAY_BE_EMPTY and not str(v).strip()]


def read_system(path: Path, submitter: str, topology: Topology) -> dict[str, Any]:
    """Return a description, checked as the submission checker will check it.

    `topology` serves to know the fields. InputError names the file, the field and the cure.
    """
    if not _NAME.fullmatch(path.stem):
        raise InputError(
            f"--system {path}: the file's name is the system's in the submission: letters, digits,"
            " '.', '_' and '-' only"
        )
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"--system {path}: {error.strerror} (loadrun doctor --system FILE writes one)"
        ) from None
    except ValueError as error:
        raise InputError(f"--system {path}: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise InputError(f"--system {path}: not an object of fields")
    fields = describe(topology)
    missing = [name for name in fields if name not in found]
    if missing:
        raise InputError(f"--system {path}: without {', '.join(missing)}")
    for name in fields:
        if not isinstance(found[name], str):
            given = json.dumps(found[name])
            raise InputError(f'--system {path}: {name} is {given}, must be text ("...")')
    if empty := unfilled({name: found[name] for name in fields}):
        raise InputError(f"--system {path}: fill {', '.join(empty)}")
    for name in COUNTS:
        if not found[name].strip().isdecimal():
            raise InputError(f"--system {path}: {name} is '{found[name]}', must be a number")
    if "is_network" in found:
        raise InputError(f"--system {path}: leave out is_network, this is no network submission")
    _one_of(path, found, "division", DIVISIONS)
    _one_of(path, found, "system_type", SYSTEM_TYPES)
    _one_of(path, found, "status", STATUSES)
    if found["submitter"] != submitter:
        raise InputError(
            f"--system {path}: submitter is '{found['submitter']}', --submitter '{submitter}':"
            " they must be the same"
        )
    return found


def check_name(option: str, value: str) -> str:
    """Return a name that may be a directory of a submission; InputError for others."""
    if not _NAME.fullmatch(value):
        raise InputError(
            f"{option} {value}: it names a directory: letters, digits, '.', '_' and '-' only"
        )
    return value


def _one_of(path: Path, found: dict[str, Any], field: str, known: tuple[str, ...]) -> None:
    if found[field] not in known:
        raise InputError(f"--system {path}: {field} is '{found[field]}', known: {', '.join(known)}")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace", encoding="utf-8").strip().strip("\0")
    except OSError:
        return ""


def _operating_system(root: Path) -> str:
    lines = _text(root / "etc/os-release").splitlines()
    names = [line.partition("=")[2].strip('"') for line in lines if line.startswith("PRETTY_NAME=")]
    return f"{names[0] if names else platform.system()}, kernel {platform.release()}"


def _frequency(topology: Topology, root: Path) -> str:
    first = topology.allowed[0].id
    text = _text(root / f"sys/devices/system/cpu/cpu{first}/cpufreq/cpuinfo_max_freq")
    return f"{int(text) / 1e6:.2f} GHz at most" if text.isdigit() else ""


def _caches(topology: Topology, root: Path) -> str:
    """Return the caches that the first processor sees, e.g. "L1d 48K, L1i 32K, L2 2048K"."""
    first = topology.allowed[0].id
    seen = caches(root / f"sys/devices/system/cpu/cpu{first}/cache")
    kinds = {"Data": "d", "Instruction": "i"}
    return ", ".join(f"L{c.level}{kinds.get(c.kind, '')} {c.size}" for c in seen if c.level)


def _storage(root: Path) -> str:
    """Return SSD or HDD where all disks are of one kind."""
    disks = [disk for disk in (root / "sys/block").glob("*") if (disk / "device").exists()]
    kinds = {_text(disk / "queue/rotational") for disk in disks}
    return {"0": "SSD", "1": "HDD"}.get(kinds.pop(), "") if len(kinds) == 1 else ""


def _network_cards(root: Path) -> int:
    return sum((card / "device").exists() for card in (root / "sys/class/net").glob("*"))
