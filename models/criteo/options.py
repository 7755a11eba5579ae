"""What DLRM's data set needs beyond its files: the options of the reference's main.py."""

from __future__ import annotations

from base.options import Option, count

OPTIONS = (
    Option("--max-ind-range N", "DLRM: modulus of the categories", parse=count),
    Option("--samples-to-aggregate-fix N", "DLRM: so many pairs in every sample", parse=count),
    Option("--samples-to-aggregate-min N", "DLRM: at least so many, drawn evenly", parse=count),
    Option("--samples-to-aggregate-max N", "DLRM: at most so many", parse=count),
    Option("--samples-to-aggregate-quantile-file FILE", "DLRM: counts to draw from", path="file"),
    Option("--samples-to-aggregate-trace-file FILE", "DLRM: which rows make a sample", path="file"),
)
