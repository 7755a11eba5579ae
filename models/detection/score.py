"""Mean average precision by pycocotools, as MLPerf's accuracy scripts compute and print it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from base.errors import InputError
from models.detection.answers import rows_of
from models.detection.labels import Labels
from models.detection.preprocess import EXTRA
from models.task import Score


def mean_average_precision(
    answers: Mapping[int, bytes],
    truth: Mapping[str, Any],
    image_ids: Sequence[int],
    labels: Labels,
    categories: Sequence[int],
) -> Score:
    """Score answers, by sample index, of images with these ids (by sample index, too).

    `truth` is that of the images that are scored, in COCO's format; `categories` are all ids that
    the labels' order refers to. The line is preceded by COCO's twelve. Raises InputError.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise InputError(f"accuracy needs pycocotools: {EXTRA}") from None
    printed = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):
        actual = COCO()
        actual.dataset = dict(truth)
        actual.createIndex()
        found = _found(answers, truth, image_ids, labels, categories)
        predicted = actual.loadRes(found) if found else COCO()
        evaluation = COCOeval(actual, predicted, iouType="bbox")
        evaluation.params.imgIds = [image_ids[index] for index in answers]
        evaluation.evaluate()
        evaluation.accumulate()
        with contextlib.redirect_stdout(printed):
            evaluation.summarize()
    value = 100 * float(evaluation.stats[0])
    lines = printed.getvalue().splitlines()
    return Score(value, "\n".join([*lines, f"mAP={value:.3f}%"]), len(answers))


def _found(
    answers: Mapping[int, bytes],
    truth: Mapping[str, Any],
    image_ids: Sequence[int],
    labels: Labels,
    categories: Sequence[int],
) -> list[dict[str, Any]]:
    """The detections in COCO's format, with coordinates in pixels rounded as the script does."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    entries = []
    for index, answer in answers.items():
        image = image_ids[index]
        height, width = sizes[image]
        try:
            rows = rows_of(answer).copy()
        except ValueError as error:
            raise InputError(f"the answer to sample {index} is damaged: {error}") from None
        if len(rows) and (rows[:, 0] != index).any():
            raise InputError(f"the answer to sample {index} says it is of sample {rows[0, 0]:g}")
        rows[:, 1:5:2] *= height
        rows[:, 2:5:2] *= width
        for _, top, left, bottom, right, score, label in rows:
            entries.append(
                {
                    "image_id": image,
                    "category_id": labels.category(int(label), categories),
                    "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
                    "score": float(score),
                }
            )
    return entries
