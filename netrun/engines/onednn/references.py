"""Operations for which oneDNN has nothing but its reference kernel, in words.

They stand in an artifact's facts as `references`: operation -> the sizes of chunks, in samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def notice(references: Mapping[str, Sequence[int]]) -> str | None:
    """What the user has to know of them; None where there are none."""
    if not references:
        return None
    return f"oneDNN has only its reference kernel, which is very slow, for {named(references)}"


def named(references: Mapping[str, Sequence[int]]) -> str:
    """Operations and sizes: ``pool (1, 3-5 samples at once), fc (1 sample at once)``."""
    return ", ".join(
        f"{name} ({_ranges(sizes)} sample{'' if [*sizes] == [1] else 's'} at once)"
        for name, sizes in references.items()
    )


def _ranges(sizes: Sequence[int]) -> str:
    """Whole numbers in ascending order, neighbours as a range."""
    runs: list[list[int]] = []
    for size in sorted(sizes):
        if runs and size == runs[-1][-1] + 1:
            runs[-1].append(size)
        else:
            runs.append([size])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
