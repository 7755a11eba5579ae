"""The options that every benchmark has."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser(description: str | None, *, rounds: int, seconds: float) -> argparse.ArgumentParser:
    """Return a parser with --rounds, --seconds (of one test) and --json."""
    result = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    result.add_argument("--rounds", type=int, default=rounds, help=f"default {rounds}")
    result.add_argument(
        "--seconds", type=float, default=seconds, help=f"length of a test, default {seconds:g}"
    )
    result.add_argument("--json", type=Path, help="where to write all rounds")
    return result
