"""Where RNN-T's data set is kept, and how it gets there."""

from __future__ import annotations

from models.published import DataFolder, PublishedFile

LIBRISPEECH = DataFolder(
    "librispeech",
    "LibriSpeech's dev-clean (CC BY 4.0)",
    {"data": "LibriSpeech/dev-clean", "calibration": "LibriSpeech/train-clean-100"},
    (
        PublishedFile(
            "dev-clean.tar.gz",
            "https://www.openslr.org/resources/12/dev-clean.tar.gz",
            "2,703 utterances",
            # As https://www.openslr.org/resources/12/md5sum.txt has it.
            "md5:42e2234ba48799c1f50f24a7926300a1",
            unpacks_to="",
        ),
    ),
)
"""Calibration takes utterances of the training set, where they are there, too."""
