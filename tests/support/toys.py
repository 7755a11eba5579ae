"""A task with two benchmarks, as MLPerf has them of 99 and 99.9 percent."""

from __future__ import annotations

from dataclasses import replace

from ragged import RAGGED, Ragged


class Toy(Ragged):
    """Sequences, of which a submission must have 99 or 99.9 percent right."""

    name = "toy"
    aliases = ("plaything",)
    truths = "products"
    benchmarks = tuple(
        replace(
            RAGGED.benchmarks[0],
            name=f"toy-{percent}",
            conf="toy",
            share=share,
            scenarios=("SingleStream", "Offline"),
            audits=("TEST01",),
            audit_samples=64,
            edge="v6.0",
            precision=precision,
        )
        for percent, share, precision in (("99", 0.99, "int8"), ("99.9", 0.999, "bf16"))
    )


TOY = Toy()
