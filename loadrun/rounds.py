"""What differs between MLPerf Inference rounds for LoadGen: the seeds, published for each anew.

Source: mlperf.conf of the round's release of mlcommons/inference, as its submission checker expects
them (its `seeds` and `test05_seeds`). Older rounds are there for the benchmarks that ended in them.
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
    "v1.1": Seeds(1624344308455410291, 517984244576520566, 10051496985653635065),
    "v2.0": Seeds(6655344265603136530, 15863379492028895792, 12662793979680847247),
    "v2.1": Seeds(14284205019438841327, 4163916728725999944, 299063814864929621),
    "v3.0": Seeds(10003631887983097364, 17183018601990103738, 12134888396634371638),
    "v3.1": Seeds(148687905518835231, 520418551913322573, 811580660758947900),
    "v4.0": Seeds(13281865557512327830, 198141574272810017, 7575108116881280410),
    "v4.1": Seeds(3066443479025735752, 10688027786191513374, 14962580496156340209),
    "v5.0": Seeds(6023615788873153749, 15036839855038426416, 9933818062894767841),
    "v5.1": Seeds(1780908523862526354, 14771362308971278857, 18209322760996052031),
    "v6.0": Seeds(2465351861681999779, 14276810075590677512, 3936089224930324775),
    "v6.1": Seeds(2085463073848966840, 2747215439041700203, 16159082839903944936),
}

_FIRST = Seeds(313588358309856706, 471397156132239067, 413914573387865862)
AUDIT_SEEDS = {
    **dict.fromkeys(("v1.1", "v2.0", "v2.1"), _FIRST),
    "v3.0": Seeds(14646058500348515648, 1207248993894122914, 11879132697760422006),
    "v3.1": Seeds(793197339507417767, 255610748586851044, 352213341366340113),
    "v4.0": Seeds(2376919268182438552, 11176391829184272374, 3911940905271271337),
    "v4.1": Seeds(16799458546791641818, 5453809927556429288, 5435552105434836064),
}
"""The other seeds of TEST05, in the rounds that had that test."""


class UnknownRoundError(ValueError):
    """A round whose seeds are not known; the message lists those that are."""


def parse_round(text: str) -> str:
    """Return a round's name: `5.0` and `V5.0` are accepted. Raises UnknownRoundError."""
    name = "v" + text.lower().removeprefix("v")
    if name not in ROUNDS:
        raise UnknownRoundError(f"unknown round '{text}' (known: {', '.join(ROUNDS)})")
    return name
