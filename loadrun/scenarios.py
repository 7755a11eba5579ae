"""LoadGen's scenario and mode names, as people write them. Imports nothing heavy."""

from __future__ import annotations

import difflib

SCENARIOS = ("SingleStream", "MultiStream", "Server", "Offline")
TARGETS = {
    "SingleStream": "single_stream_expected_latency_ns",
    "MultiStream": "multi_stream_expected_latency_ns",
    "Server": "server_target_qps",
    "Offline": "offline_expected_qps",
}
"""LoadGen's setting that holds what is expected: ns a query, queries/s, samples/s."""
MODES = ("PerformanceOnly", "AccuracyOnly", "SubmissionRun", "FindPeakPerformance")


class UnknownNameError(ValueError):
    """A scenario or mode that LoadGen does not have; the message names the nearest one."""


def nearest(word: str, names: tuple[str, ...] | list[str]) -> str | None:
    """Return the entry of `names` closest to `word` in spelling, or None when none is close."""
    folded = {name.lower(): name for name in names}
    found = difflib.get_close_matches(word.lower(), list(folded), n=1, cutoff=0.4)
    return folded[found[0]] if found else None


def _parse(kind: str, text: str, names: tuple[str, ...]) -> str:
    plain = text.lower().replace("-", "").replace("_", "").replace(" ", "")
    for name in names:
        if plain == name.lower():
            return name
    guess = nearest(plain, names)
    hint = f"nearest: {guess}; " if guess else ""
    raise UnknownNameError(f"unknown {kind} {text!r} ({hint}one of {', '.join(names)})")


def parse_scenario(text: str) -> str:
    """Return LoadGen's spelling of a scenario: `offline`, `single-stream`, `SERVER` are accepted.

    Raises UnknownNameError.
    """
    return _parse("scenario", text, SCENARIOS)


def parse_mode(text: str) -> str:
    """Return LoadGen's spelling of a mode, in any capitalisation; raises UnknownNameError."""
    return _parse("mode", text, MODES)
