"""The part of a record that holds the options of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from base.checked import REST


@dataclass(frozen=True, kw_only=True)
class OptionsRecord:
    """The options by name, as `launch.options.RunOptions` has them; `more` holds all others.

    `tuned` is the name of the tuned configuration that was used.
    """

    model: str
    scenario: str
    mode: str
    audit: str | None = None
    round: str | None = None
    engine: str
    precision: str
    batch_size: int
    in_flight: int
    policy: str
    in_process: bool = False
    tuned: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict, metadata=REST)

    def value(self, name: str) -> Any:
        """An option by its name; None of one that the record does not have."""
        return vars(self)[name] if name in vars(self) else self.more.get(name)
