"""What the user asked of a run, checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError
from launch.build.cache import expanded
from launch.supervise.environment import PACKAGE_ROOT
from loadrun.scenarios import MODES, SCENARIOS

FAST_DURATION_S = 60.0
IN_FLIGHT = 2


@dataclass(frozen=True)
class Sources:
    """Where weights and images come from; None is the embedded synthetic default.

    `calibration` are the images that int8 ranges are taken from: a folder, or a file that names
    some of `images`.
    """

    weights: Path | None
    images: Path | None
    labels: Path | None
    calibration: Path | None


@dataclass(frozen=True)
class CalibrateOptions:
    """A calibration as the user asked for it; None is the embedded synthetic default.

    `names` is a file that names some of the images. `threads` is None where the default plan
    decides.
    """

    model: str
    weights: Path | None
    images: Path | None
    names: Path | None
    engine: str
    batch_size: int
    threads: int | None


@dataclass(frozen=True)
class TunedUse:
    """Whether a tuned configuration is used: its file, and what the user is told of it."""

    path: Path | None = None
    notice: str | None = None


@dataclass(frozen=True)
class RunOptions:
    """One run as the user asked for it. Names are canonical; None leaves a choice to loadrun.

    `any_length`: it may last far longer than was asked for. `reference_qps` is the target rate of
    the run that this one is compared with; `qps`, what the user gave, wins over it.
    """

    model: str
    scenario: str
    mode: str
    sources: Sources
    engine: str
    precision: str
    policy: str
    batch_size: int
    in_flight: int
    instances: int | None
    cores: int | None
    strict: bool
    oversubscribe: bool
    through_ring: bool
    sort_samples: bool
    fast: bool
    count: int | None
    time_s: float | None
    qps: float | None
    max_latency_ms: float | None
    user_conf: Path | None
    audit: str | None
    round: str | None
    results: Path
    json: bool
    quiet: bool
    max_restarts: int
    stall_limit_s: float
    command: tuple[str, ...]
    tuned: TunedUse
    any_length: bool = False
    reference_qps: float | None = None

    @property
    def in_process(self) -> bool:
        """SingleStream runs in one process, as there is never a second query to serve."""
        return SCENARIOS[self.scenario].one_sample and not self.through_ring

    @property
    def accuracy_only(self) -> bool:
        """Whether the run measures accuracy alone."""
        return MODES[self.mode].accuracy_only


def find_sources(
    weights: str | None,
    images: str | None,
    labels: str | None,
    calibration: str | None,
    environment: Mapping[str, str] | None = None,
) -> Sources:
    """Options, else LOADRUN_WEIGHTS, LOADRUN_IMAGES, LOADRUN_LABELS, LOADRUN_CALIBRATION.

    InputError for a path that is not there, naming the option or variable, and for labels
    without images.
    """
    variables = os.environ if environment is None else environment

    def find(option: str, given: str | None) -> Path | None:
        wanted = {"images": "directory", "calibration": "directory or file"}.get(option, "file")
        return find_path(f"--{option}", given, f"LOADRUN_{option.upper()}", variables, wanted)

    # An option replaces the whole pair: labels of the environment belong to its own images.
    if images and not labels:
        variables = {k: v for k, v in variables.items() if k != "LOADRUN_LABELS"}
    sources = Sources(
        weights=find("weights", weights),
        images=find("images", images),
        labels=find("labels", labels),
        calibration=find("calibration", calibration),
    )
    if sources.labels and not sources.images:
        raise InputError(f"--labels {sources.labels}: labels need --images DIR")
    if sources.calibration and sources.calibration.is_file() and not sources.images:
        raise InputError(
            f"--calibration {sources.calibration}: a list of images needs --images DIR"
        )
    return sources


def find_path(
    option: str, given: str | None, variable: str, variables: Mapping[str, str], wanted: str
) -> Path | None:
    """What `option` gives, else the environment's `variable`, where that exists.

    `wanted` is "file", "directory" or "directory or file".

    None where neither is set; raises InputError for a path that is not there.
    """
    name, value = (option, given) if given else (variable, variables.get(variable))
    if not value:
        return None
    path = expanded(value, name)
    if not (("directory" in wanted and path.is_dir()) or ("file" in wanted and path.is_file())):
        raise InputError(f"{name} {value}: no such {wanted}")
    return path


def find_user_conf(given: str | None) -> Path | None:
    """--user-conf, else user.conf in the current directory, else the one beside the packages."""
    if given:
        path = expanded(given, "--user-conf")
        if not path.is_file():
            raise InputError(f"--user-conf {given}: no such file")
        return path
    for directory in (Path.cwd(), PACKAGE_ROOT):
        if (directory / "user.conf").is_file():
            return directory / "user.conf"
    return None
