"""Where everything stands in a submission.

Rounds to v5.1::

    <division>/<submitter>/
        systems/<system>.json
        documentation/calibration.md
        code/<model>/loadrun/README.md
        measurements/<system>/<model>/<scenario>/
            <system>_loadrun_<scenario>.json, user.conf, README.md; to v4.1 mlperf.conf, too
        results/<system>/<model>/<scenario>/
            accuracy/        logs, accuracy.txt
            performance/run_1/   logs
        compliance/<system>/<model>/<scenario>/TEST01/ ...

From v6.0 on, measurements and compliance tests stand beside the results they belong to::

    <division>/<submitter>/
        systems/<system>.json
        documentation/calibration.md
        src/<model>/loadrun/README.md
        results/<system>/<model>/<scenario>/
            measurements.json, user.conf, README.md
            accuracy/, performance/run_1/, TEST01/ ...

Source: tools/submission/submission_structure.md and the paths of the submission checker of
mlcommons/inference.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launch.submission.rules import number

ONE_TREE = (6, 0)
"""From this round on, all of a result stands in one directory."""
PACKAGED = (5, 0)
"""From this round on, mlperf.conf is LoadGen's own, and no file of a submission."""


@dataclass(frozen=True)
class Layout:
    """The paths below `root`, which holds the division's directory."""

    root: Path
    round: str
    division: str
    submitter: str
    system: str

    @property
    def home(self) -> Path:
        """The submitter's directory."""
        return self.root / self.division / self.submitter

    @property
    def description(self) -> Path:
        """The system's description."""
        return self.home / "systems" / f"{self.system}.json"

    @property
    def calibration(self) -> Path:
        """How int8 ranges were found."""
        return self.home / "documentation" / "calibration.md"

    @property
    def own(self) -> tuple[Path, ...]:
        """The directories that hold nothing but this system's."""
        names = ("results", "measurements", "compliance")
        return tuple(self.home / name / self.system for name in names)

    def code(self, model: str) -> Path:
        """What ran."""
        return self.home / ("src" if self._one_tree else "code") / model / "loadrun" / "README.md"

    def results(self, model: str, scenario: str) -> Path:
        """The directory of accuracy and performance."""
        return self.home / "results" / self.system / model / scenario

    def measurements(self, model: str, scenario: str) -> Path:
        """The directory of settings."""
        return self._beside("measurements", model, scenario)

    def rules(self, model: str, scenario: str) -> Path | None:
        """mlperf.conf; None in rounds that do not want it."""
        if number(self.round) >= PACKAGED:
            return None
        return self.measurements(model, scenario) / "mlperf.conf"

    def facts(self, model: str, scenario: str) -> Path:
        """The JSON file on weights and data types."""
        name = "measurements.json" if self._one_tree else f"{self.system}_loadrun_{scenario}.json"
        return self.measurements(model, scenario) / name

    def compliance(self, model: str, scenario: str, test: str) -> Path:
        """The directory of a compliance test."""
        return self._beside("compliance", model, scenario) / test

    @property
    def _one_tree(self) -> bool:
        return number(self.round) >= ONE_TREE

    def _beside(self, what: str, model: str, scenario: str) -> Path:
        if self._one_tree:
            return self.results(model, scenario)
        return self.home / what / self.system / model / scenario
