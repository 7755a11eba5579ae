"""The benchmarks that names and versions of configurations mean together."""

from __future__ import annotations

from collections.abc import Sequence

import models
from models.task import spelled


def benchmarks_of(names: Sequence[str], config_vers: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return canonical names, each once, and a line for each version that a task does not have.

    A benchmark that was named itself is meant as such, whatever the version. Raises what
    `models.get` raises.
    """
    found: dict[str, None] = {}
    left_out: list[str] = []
    for name in names:
        task = models.get(name)
        own = [benchmark.name for benchmark in task.benchmarks]
        if len(own) > 1 and spelled(name) in own:
            found[models.canonical(name)] = None
            continue
        for config_ver in config_vers:
            if task.configured(config_ver) is None:
                left_out.append(f"{task.name} {config_ver}: its only benchmark is {own[0]}")
            else:
                found[models.canonical(name, config_ver=config_ver)] = None
    return list(found), left_out
