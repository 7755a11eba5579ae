"""Options of the ImageNet classifiers."""

from __future__ import annotations

from base.options import Option

OPTIONS = (
    Option(
        "--labels FILE",
        "'name label' lines for the images",
        path="file",
        variable="LOADRUN_LABELS",
        of_data="labels",
    ),
)
