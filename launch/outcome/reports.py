"""What the processes of a run report to launch in files of their own, read and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from base.checked import ShapeError, read
from base.errors import RunError
from launch.outcome.record.processes import EngineRecord
from loadrun.report import Report

T = TypeVar("T")


def loadrun_report(path: Path) -> Report | None:
    """What the loadrun process reported so far; None where it has not, RunError for a bad file."""
    return _report(path, Report, {"path": str(path)})


def engine_report(path: Path) -> EngineRecord | None:
    """What an instance reported when it was ready; None where it has not, RunError as above."""
    return _report(path, EngineRecord)


def _report(path: Path, form: type[T], more: Mapping[str, Any] | None = None) -> T | None:
    try:
        values = json.loads(path.read_bytes())
        return read(form, {**values, **(more or {})} if isinstance(values, dict) else values)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from None
    except ShapeError as error:
        raise RunError(f"{path}: not what loadrun writes ({error})") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: not JSON ({error})") from None
