"""Where the data sets of volumes are kept, and how they get there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.published import DataFolder, PublishedFile
from models.volumes.kits19 import CALIBRATION, COPY, INFERENCE

SCANS = "https://kits19.sfo2.digitaloceanspaces.com/master_{number}.nii.gz"
SEGMENTATIONS = "https://raw.githubusercontent.com/neheller/kits19/master/data/{case}/"
"""Where the challenge's own script and repository have them. No checksums are published."""


def _kits19(_: Path) -> Sequence[PublishedFile]:
    """Scans and segmentations of MLPerf's cases, but for the copy, which nobody has to download."""
    files = []
    for case in (*INFERENCE, *CALIBRATION):
        if case in COPY:
            continue
        scan = SCANS.format(number=case.removeprefix("case_"))
        truth = SEGMENTATIONS.format(case=case) + "segmentation.nii.gz"
        files.append(PublishedFile(f"data/{case}/imaging.nii.gz", scan, "a scan"))
        files.append(PublishedFile(f"data/{case}/segmentation.nii.gz", truth, "its segmentation"))
    return files


KITS19 = DataFolder(
    "kits19",
    "KiTS19, MLPerf's 43 cases and its 20 for calibration (CC BY-NC-SA 4.0)",
    # MLPerf's calibration cases lie among the others.
    {"data": "data", "calibration": "data"},
    listed=_kits19,
)
BRATS = DataFolder(
    "brats",
    "BraTS 2019's training set",
    dict.fromkeys(("data", "calibration"), "MICCAI_BraTS_2019_Data_Training"),
    terms="register at https://www.med.upenn.edu/cbica/brats2019/data.html; then unpack"
    " MICCAI_BraTS_2019_Data_Training.zip",
)
