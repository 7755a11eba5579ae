"""What RNN-T's data set needs beyond its files."""

from __future__ import annotations

from base.options import Option, count

OPTIONS = (
    Option("--sample-rate HZ", "RNN-T: what the network was trained on", parse=count),
    Option("--audio DIR", "RNN-T: where a manifest's files are", path="directory"),
)
