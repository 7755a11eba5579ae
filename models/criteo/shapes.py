"""Sizes of the published DLRM networks (facebookresearch/dlrm; torchrec's DLRM_DCN for v2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.ranking import Shape

DENSE = 13
"""Integer features of a row of Criteo's data."""
SPARSE = 26
"""Categorical features."""

TERABYTE_40M = Shape(
    bottom=(512, 256, 128),
    top=(1024, 1024, 512, 256, 1),
    rows=(
        *(39884406, 39043, 17289, 7420, 20263, 3, 7120, 1543, 63, 38532951, 2953546, 403346, 10),
        *(2208, 11938, 155, 4, 976, 14, 39979771, 25641295, 39664984, 585935, 12972, 108, 36),
    ),
)
TERABYTE_10M = Shape(
    bottom=(512, 256, 64),
    top=(512, 512, 256, 1),
    rows=(
        *(9980333, 36084, 17217, 7378, 20134, 3, 7112, 1442, 61, 9758201, 1333352, 313829, 10),
        *(2208, 11156, 122, 4, 970, 14, 9994222, 7267859, 9946608, 415421, 12420, 101, 36),
    ),
)
MULTIHOT = Shape(
    bottom=(512, 256, 128),
    top=(1024, 1024, 512, 256, 1),
    rows=(
        *(40000000, 39060, 17295, 7424, 20265, 3, 7122, 1543, 63, 40000000, 3067956, 405282, 10),
        *(2209, 11938, 155, 4, 976, 14, 40000000, 40000000, 40000000, 590152, 12973, 108, 36),
    ),
    hot=(3, 2, 1, 2, 6, 1, 1, 1, 1, 7, 3, 8, 1, 6, 9, 5, 1, 1, 1, 12, 100, 27, 10, 3, 1, 1),
    cross_rank=512,
)


def of_state(sizes: Mapping[str, Sequence[int]], hot: Sequence[int] = ()) -> Shape | None:
    """Return the shape of a v1 network from its parameters' shapes, by facebookresearch's names.

    None where they are not those of a DLRM. `hot` is not in them: v1 looks up one row a table.
    """

    def widths(part: str) -> tuple[int, ...]:
        named = {
            int(number): shape[0]
            for name, shape in sizes.items()
            if name.startswith(f"{part}.") and name.endswith(".weight")
            for number in [name.split(".")[1]]
            if number.isdecimal()
        }
        return tuple(named[number] for number in sorted(named))

    bottom, top, rows = widths("bot_l"), widths("top_l"), widths("emb_l")
    if not bottom or not top or not rows or top[-1] != 1:
        return None
    return Shape(bottom, top, rows, tuple(hot))
