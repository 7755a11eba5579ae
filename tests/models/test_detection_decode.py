"""Anchors, suppression and decoding, against slow implementations of the references' rules."""

import math

import numpy as np
import pytest

from models.detection import nms
from models.detection.anchors import r34_boxes, retinanet_anchors, ssd_anchors
from models.detection.answers import rows_of
from models.detection.retinanet import GRIDS, RETINANET
from models.detection.ssd_mobilenet import KNOWN, SSD_MOBILENET, SSD_MOBILENET_V2
from models.detection.ssd_resnet34 import BOXES, SSD_RESNET34
from models.detection.ssd_resnet34 import GRIDS as R34_GRIDS
from models.gated import Gated
from models.task import Array

HALF_SIZES = {
    32: [(23, 11), (28, 14), (35, 18), (16, 16), (20, 20), (25, 25), (11, 23), (14, 28), (18, 35)],
    512: [(362, 181), (456, 228), (574, 287), (256, 256), (322, 322), (406, 406), (181, 362),
          (228, 456), (287, 574)],
}  # fmt: skip
"""Of RetinaNet's base anchors, by the level's size: width and height, rounded as in training."""


def overlap(a: Array, b: Array) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return float(shared / both) if both else 0.0


def one_by_one(
    boxes: Array, scores: Array, labels: Array, limit: float, most: int, reaching: bool = False
) -> list[int]:
    """Greedy suppression, box by box."""
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        others = [overlap(boxes[i], boxes[j]) for j in kept if labels[i] == labels[j]]
        if not any(o >= limit if reaching else o > limit for o in others):
            kept.append(i)
    return kept[:most]


def some_boxes(rng: np.random.Generator, count: int) -> Array:
    corner = rng.uniform(0, 0.7, (count, 2))
    return np.hstack([corner, corner + rng.uniform(0.02, 0.3, (count, 2))]).astype(np.float32)


def test_retinanets_anchors_are_those_of_the_training() -> None:
    levels = retinanet_anchors(800, GRIDS)
    assert sum(map(len, levels)) == 120_087
    for level, size in ((0, 32), (4, 512)):
        halves = (levels[level][:9, 2:] - levels[level][:9, :2]) / 2
        assert halves.tolist() == [list(pair) for pair in HALF_SIZES[size]]
    # The distance is the whole part of 800 / 13 and 800 / 7; the first centre is the corner.
    for level, stride in ((3, 61), (4, 114)):
        centres = (levels[level][::9, :2] + levels[level][::9, 2:]) / 2
        assert centres[0].tolist() == [0, 0]
        assert centres[1].tolist() == [stride, 0]
        assert centres[GRIDS[level]].tolist() == [0, stride]


def test_ssd_anchors_have_the_pitch_and_order_of_the_references() -> None:
    levels = r34_boxes(1200, R34_GRIDS)
    assert sum(boxes.shape[0] * boxes.shape[1] for boxes in levels) == 15_130
    assert levels[0].shape == (4, 2500, 4)
    assert levels[3][0, 1].tolist() == pytest.approx([1.5 / 7, 0.5 / 7, 0.51, 0.51])
    assert max(float(boxes.max()) for boxes in levels) <= 1
    small = ssd_anchors((19, 10, 5, 3, 2, 1))
    assert sum(map(len, small)) == 1917
    assert small[0][3].tolist() == pytest.approx([0.5 / 19, 1.5 / 19, 0.1, 0.1])
    assert small[1][1].tolist() == pytest.approx(
        [0.05, 0.05, 0.35 / math.sqrt(2), 0.35 * math.sqrt(2)]
    )


@pytest.mark.parametrize("reaching", [False, True])
@pytest.mark.parametrize("count", [0, 1, 7, 400, 1500])
def test_suppression_is_the_greedy_one(
    count: int, reaching: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nms, "PAIRS", 1000)
    monkeypatch.setattr(nms, "FIRST", 64)
    rng = np.random.default_rng(count)
    boxes = some_boxes(rng, count)
    scores = rng.integers(1, 99, count).astype(np.float32)  # with ties
    labels = rng.integers(0, 3, count)
    found = nms.kept(boxes, scores, labels, 0.4, 50, reaching)
    assert found.tolist() == one_by_one(boxes, scores, labels, 0.4, 50, reaching)


def test_suppression_at_the_limit() -> None:
    boxes = np.array([[0, 0, 3, 1], [1, 0, 4, 1]], np.float32)  # 2 of 4
    scores, labels = np.array([0.9, 0.8], np.float32), np.zeros(2, np.int64)
    assert nms.kept(boxes, scores, labels, 0.5, 9).tolist() == [0, 1]
    assert nms.kept(boxes, scores, labels, 0.5, 9, reaching=True).tolist() == [0]


def retinanet_outputs(rng: np.random.Generator, count: int) -> dict[str, Array]:
    outputs: dict[str, Array] = {}
    for level, grid in enumerate(GRIDS, start=3):
        logits = np.full((grid, grid, 9 * 264), -9, np.float32)
        flat = logits.reshape(-1, 264)
        places, labels = rng.integers(0, len(flat), count), rng.integers(0, 5, count) * 50
        flat[places, labels] = rng.normal(-2, 1.5, count)
        outputs[f"scores{level}"] = logits
        outputs[f"boxes{level}"] = rng.normal(0, 0.5, (grid, grid, 36)).astype(np.float32)
    outputs["boxes7"][0, 0, :4] = [0, 0, 99, -99]  # growth is limited
    outputs["scores7"][0, 0, 0] = 5
    return outputs


def slow_retinanet(outputs: dict[str, Array]) -> tuple[list[Array], list[float], list[int]]:
    boxes: list[Array] = []
    scores: list[float] = []
    labels: list[int] = []
    for level, anchors in enumerate(retinanet_anchors(800, GRIDS), start=3):
        logits = outputs[f"scores{level}"].reshape(-1).astype(np.float64)
        every = 1 / (1 + np.exp(-logits))
        order = sorted(np.flatnonzero(every > 0.05), key=lambda i: (-every[i], i))[:1000]
        for i in order:
            left, top, right, bottom = anchors[i // 264]
            width, height = right - left, bottom - top
            x, y, w, h = outputs[f"boxes{level}"].reshape(-1, 4)[i // 264].astype(float)
            middle = left + width / 2 + x * width, top + height / 2 + y * height
            size = (math.exp(min(w, math.log(62.5))) * width, math.exp(min(h, 4.135)) * height)
            box = [middle[0] - size[0] / 2, middle[1] - size[1] / 2]
            box += [middle[0] + size[0] / 2, middle[1] + size[1] / 2]
            boxes.append(np.clip(box, 0, 800))
            scores.append(every[i])
            labels.append(int(i) % 264)
    kept = one_by_one(np.array(boxes), np.array(scores), np.array(labels), 0.5, 300)
    return [boxes[i] / 800 for i in kept], [scores[i] for i in kept], [labels[i] for i in kept]


@pytest.mark.parametrize("count", [3, 80])
def test_retinanet_decodes_as_the_reference(count: int) -> None:
    outputs = retinanet_outputs(np.random.default_rng(count), count)
    found = RETINANET.detections(outputs)
    boxes, scores, labels = slow_retinanet(outputs)
    assert found.labels.tolist() == labels
    assert found.scores == pytest.approx(np.array(scores), abs=1e-6)
    assert found.boxes == pytest.approx(np.array(boxes), abs=1e-5)


def test_steps_above_the_threshold_say_what_values_do() -> None:
    outputs = retinanet_outputs(np.random.default_rng(5), 200)
    exact = RETINANET.detections(outputs)
    for field in RETINANET.parts[0].outputs:
        if isinstance(field, Gated):
            steps = np.rint((outputs[field.name] - field.above) / field.step)
            outputs[field.name] = steps.clip(0, 255).astype(np.uint8)
    stepped = RETINANET.detections(outputs)
    assert abs(len(stepped.scores) - len(exact.scores)) <= 3
    assert stepped.scores[:100] == pytest.approx(exact.scores[:100], abs=0.01)


def test_a_gates_candidates_are_what_exceeds_it() -> None:
    gate = Gated("scores", "<f4", (1003,), -1.0, 4.1)
    assert gate.step == pytest.approx(0.02)
    values = np.random.default_rng(0).normal(-3, 1, 1003).astype(np.float32)
    places, found = gate.candidates(values)
    assert places.tolist() == np.flatnonzero(values > -1).tolist()
    assert found.tolist() == values[places].tolist()
    steps = np.zeros(1003, np.uint8)
    steps[[0, 7, 8, 999, 1002]] = [1, 255, 2, 3, 4]
    places, found = gate.candidates(steps)
    assert places.tolist() == [0, 7, 8, 999, 1002]
    assert found == pytest.approx([-0.98, 4.1, -0.96, -0.94, -0.92])


def r34_outputs(rng: np.random.Generator, background: float) -> dict[str, Array]:
    outputs: dict[str, Array] = {}
    for level, (grid, boxes) in enumerate(zip(R34_GRIDS, BOXES, strict=True)):
        logits = rng.normal(0, 1, (grid, grid, 81, boxes)).astype(np.float32)
        logits[:, :, 0] += background
        outputs[f"classes{level}"] = logits.reshape(grid, grid, -1)
        outputs[f"boxes{level}"] = rng.normal(0, 1, (grid, grid, 4 * boxes)).astype(np.float32)
    return outputs


def slow_r34(outputs: dict[str, Array]) -> tuple[list[Array], list[float], list[int]]:
    boxes: list[Array] = []
    scores: list[float] = []
    labels: list[int] = []
    for level, defaults in enumerate(r34_boxes(1200, R34_GRIDS)):
        logits = outputs[f"classes{level}"].reshape(defaults.shape[1], 81, -1).astype(np.float64)
        powers = np.exp(logits)
        every = powers / powers.sum(1, keepdims=True)
        codes = outputs[f"boxes{level}"].reshape(defaults.shape[1], 4, -1)
        for place, label, box in np.argwhere(every > 0.05):
            if label:
                x, y, w, h = codes[place, :, box].astype(float)
                cx, cy, width, height = defaults[box, place].astype(float)
                cx, cy = cx + 0.1 * x * width, cy + 0.1 * y * height
                width, height = width * math.exp(0.2 * w), height * math.exp(0.2 * h)
                corners = [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]
                boxes.append(np.array(corners))
                scores.append(every[place, label, box])
                labels.append(int(label))
    best = [
        i
        for label in set(labels)
        for i in sorted(
            (i for i in range(len(labels)) if labels[i] == label), key=lambda i: -scores[i]
        )[:200]
    ]
    chosen = [np.array(values)[best] for values in (boxes, scores, labels)]
    kept = one_by_one(chosen[0], chosen[1], chosen[2], 0.5, 200, reaching=True)
    return (
        [boxes[best[i]] for i in kept],
        [scores[best[i]] for i in kept],
        [labels[best[i]] for i in kept],
    )


def test_ssd_resnet34_decodes_as_the_reference_was_meant_to() -> None:
    outputs = r34_outputs(np.random.default_rng(0), background=8.0)
    found = SSD_RESNET34.detections(outputs)
    boxes, scores, labels = slow_r34(outputs)
    assert len(found.scores) > 50
    assert found.labels.tolist() == labels
    assert found.scores == pytest.approx(np.array(scores), abs=1e-6)
    assert found.boxes == pytest.approx(np.array(boxes), abs=1e-5)


def test_boxes_apart_in_both_directions_do_not_suppress_each_other() -> None:
    # The product of two negative sides is what the reference takes for their intersection.
    boxes = np.array([[0, 0, 0.1, 0.1], [0.5, 0.5, 0.6, 0.6]], np.float32)
    scores, labels = np.array([0.9, 0.8], np.float32), np.ones(2, np.int64)
    assert len(nms.kept(boxes, scores, labels, 0.5, 9, reaching=True)) == 2


def test_nothing_found_is_an_answer_of_no_bytes() -> None:
    outputs = {
        field.name: np.full(field.shape, -30, np.float32)  # type: ignore[type-var]
        for field in SSD_MOBILENET.parts[0].outputs
    }
    rows = SSD_MOBILENET.detections(outputs).answer(5)
    assert rows.tobytes() == b""
    assert rows_of(b"").shape == (0, 7)
    with pytest.raises(ValueError, match="30 bytes"):
        rows_of(bytes(30))


def test_ssd_mobilenet_answers_with_category_ids() -> None:
    shapes = {f.name: f.shape for f in SSD_MOBILENET_V2.parts[0].outputs}
    outputs = {
        name: np.full(shape, -30 if name.startswith("classes") else 0, np.float32)  # type: ignore[type-var]
        for name, shape in shapes.items()
    }
    outputs["classes5"][0, 0, 24 * 5 + 20] = 3.0  # the last box of the whole image: a dog
    outputs["classes5"][0, 0, 24 * 5 + 11] = 4.0  # a box, which COCO does not have
    rows = SSD_MOBILENET_V2.detections(outputs).answer(7)
    assert rows.shape == (1, 7)
    assert rows[0, 0] == 7
    assert rows[0, 6] == KNOWN[20] == 18
    assert rows[0, 1:5] == pytest.approx([0, 0, 1, 1], abs=0.02)
    assert rows[0, 5] == pytest.approx(1 / (1 + math.exp(-3)))
