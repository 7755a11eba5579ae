"""What data sets of volumes need beyond their folder."""

from __future__ import annotations

from base.options import Option

OPTIONS = (
    Option(
        "--segmentations DIR",
        "BraTS's prepared cases: nnU-Net's labelsTr; default: labelsTr beside them",
        path="directory",
    ),
)
