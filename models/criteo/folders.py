"""Where DLRM's data set is kept: nobody may download it before a licence is accepted."""

from __future__ import annotations

from models.published import DataFolder

CRITEO = DataFolder(
    "criteo",
    "Criteo's 1 TB click logs",
    {"data": "rows"},
    terms="accept the terms at"
    " https://ailab.criteo.com/ressources/criteo-1tb-click-logs-dataset-for-mlperf/; then put what"
    " the reference's preprocessing makes (day_23_dense.npy and the files beside it,"
    " day_23_reordered.npz or terabyte_processed_test.bin) into rows",
)
