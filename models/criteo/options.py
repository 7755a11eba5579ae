"""What DLRM's data set needs beyond its files: the options of the reference's main.py."""

from __future__ import annotations

import argparse

from base.options import WRITTEN, Option, count


def share(text: str) -> float:
    """A number of at least 0 and below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least 0 and below 1")
    return value


OPTIONS = (
    Option("--max-ind-range N", "DLRM: modulus of the categories of raw rows", parse=count),
    Option(
        "--data-sub-sample-rate R",
        "DLRM: part of the pairs of raw rows that were not clicked to leave out",
        parse=share,
    ),
    Option("--mlperf-bin-loader", "DLRM: of --data's folder the binary file of test rows"),
    Option(
        "--samples-to-aggregate-fix N",
        "DLRM: so many pairs in every sample (default: MLPerf's rule)",
        parse=count,
    ),
    Option("--samples-to-aggregate-min N", "DLRM: at least so many, drawn evenly", parse=count),
    Option("--samples-to-aggregate-max N", "DLRM: at most so many", parse=count),
    Option("--samples-to-aggregate-quantile-file FILE", "DLRM: counts to draw from", path="file"),
    Option(
        "--samples-to-aggregate-trace-file FILE",
        "DLRM: which rows make a sample: written, or read where it is there and none of the others"
        " is given",
        path=WRITTEN,
    ),
    Option(
        "--targets-in-log",
        "DLRM: the accuracy log has the truth behind each prediction, as the reference's"
        " accuracy-dlrm.py takes it without other files",
    ),
)
