"""What differs between MLPerf Inference rounds for LoadGen: the seeds, published for each anew.

Source: mlperf.conf of the round's release of mlcommons/inference, as its submission checker expects
them (tools/submission/submission_checker/constants.py).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Seeds:
    """LoadGen's random seeds: of loaded samples, of the samples' order, of Server's schedule."""

    qsl: int
    sample_index: int
    schedule: int


ROUNDS = {
    "v5.0": Seeds(6023615788873153749, 15036839855038426416, 9933818062894767841),
    "v5.1": Seeds(1780908523862526354, 14771362308971278857, 18209322760996052031),
    "v6.0": Seeds(2465351861681999779, 14276810075590677512, 3936089224930324775),
    "v6.1": Seeds(2085463073848966840, 2747215439041700203, 16159082839903944936),
}


class UnknownRoundError(ValueError):
    """A round whose seeds are not known; the message lists those that are."""


def parse_round(text: str) -> str:
    """Return a round's name: `5.0` and `V5.0` are accepted. Raises UnknownRoundError."""
    name = "v" + text.lower().removeprefix("v")
    if name not in ROUNDS:
        raise UnknownRoundError(f"unknown round '{text}' (known: {', '.join(ROUNDS)})")
    return name
