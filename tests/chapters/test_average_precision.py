"""Average precision against a slow twin that follows VOC's own code, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rgkit.chapters.detection.task import (
    average_precision,
    average_precisions,
    nearest_true,
    precision_recall,
)

EASY = np.array([False, False])


def slow_iou(a, b):
    """Overlap of two boxes of whole numbers, by counting pixels."""
    first, second = (
        {(x, y) for x in range(int(c[0]), int(c[2])) for y in range(int(c[1]), int(c[3]))}
        for c in (a, b)
    )
    return len(first & second) / len(first | second)


def slow_twin(found, true, label):
    """VOC's loops for one class: `found` and `true` are lists of dictionaries."""
    own = [t for t in true if t["label"] == label]
    positives = sum(not t["difficult"] for t in own)
    if not positives:
        return None
    taken, curve, right, counted = set(), [], 0, 0
    for d in sorted((f for f in found if f["label"] == label), key=lambda f: -f["score"]):
        best, at = 0.0, None
        for place, t in enumerate(own):
            overlap = slow_iou(d["box"], t["box"]) if t["picture"] == d["picture"] else 0
            if overlap > best:
                best, at = overlap, place
        if best >= 0.5 and own[at]["difficult"]:
            continue
        counted += 1
        if best >= 0.5 and at not in taken:
            taken.add(at)
            right += 1
        curve.append((right / counted, right / positives))
    eleven = sum(
        max((p for p, r in curve if r >= k / 10), default=0) for k in range(11)
    )  # fmt: skip
    total, before = 0.0, 0.0
    for place, (_, r) in enumerate(curve):
        total += (r - before) * max(p for p, _ in curve[place:])
        before = r
    return 100 * eleven / 11, 100 * total


def random_split(random):
    def boxes(count):
        low = random.integers(0, 6, (count, 2))
        return np.concatenate([low, low + random.integers(2, 7, (count, 2))], 1).astype(float)

    found, true = [], []
    for picture in range(6):
        for box in boxes(random.integers(0, 4)):
            label, hard = random.integers(3), random.random() < 0.3
            true.append({"picture": picture, "box": box, "label": label, "difficult": hard})
            if random.random() < 0.8:  # so that something is found, and some of it twice
                for _ in range(random.integers(1, 3)):
                    found.append({"picture": picture, "box": box, "label": label})
        for box in boxes(4):
            found.append({"picture": picture, "box": box, "label": random.integers(3)})
    for one in found:
        one["score"] = random.random()
    return found, true


@pytest.mark.parametrize("seed", range(12))
def test_it_equals_its_slow_twin(seed):
    found, true = random_split(np.random.default_rng(seed))
    rows, objects = [], torch.zeros(6, 4, 6, dtype=torch.float64)
    objects[..., 4] = -1
    for picture, slots in enumerate(objects):
        own = [f for f in found if f["picture"] == picture]
        for slot, t in zip(slots, (t for t in true if t["picture"] == picture), strict=False):
            slot[:] = torch.tensor([*t["box"], t["label"], t["difficult"]])
        labels = np.array([f["label"] for f in own])
        seen = {"boxes": np.array([f["box"] for f in own]), "labels": labels + 1}
        overlap, which = nearest_true({n: torch.from_numpy(v) for n, v in seen.items()}, slots)
        rows.append([labels, [f["score"] for f in own], overlap, which + 4 * picture])
    table = average_precisions(np.concatenate(rows, 1).T, objects.flatten(0, 1).numpy(), 3)
    for label in range(3):
        wanted = slow_twin(found, true, label)
        if wanted is None:
            assert np.isnan(table[label]).all()
        else:
            np.testing.assert_allclose(table[label], wanted, atol=1e-9)


def test_a_second_detection_of_the_same_box_is_false():
    """By hand: right, false (a duplicate), right, with two true boxes."""
    scores, which = np.array([0.9, 0.8, 0.7]), np.array([0, 0, 1])
    precision, recall = precision_recall(scores, np.full(3, 0.6), which, EASY, 2)
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(recall, [1 / 2, 1 / 2, 1])
    wanted = 100 * (6 * 1 + 5 * 2 / 3) / 11, 100 * (1 / 2 + 1 / 2 * 2 / 3)
    assert average_precision(precision, recall) == pytest.approx(wanted)


def test_the_better_one_of_two_detections_takes_the_box_whatever_their_order():
    scores, overlap = np.array([0.2, 0.9]), np.array([0.9, 0.6])
    precision, _ = precision_recall(scores, overlap, np.array([0, 0]), EASY, 2)
    assert precision.tolist() == [1, 0.5]


def test_difficult_boxes_are_ignored_on_both_sides():
    """Neither a detection of one nor missing it counts; a detection of nothing does."""
    difficult = np.array([True, False])
    scores, overlap, which = np.array([0.9, 0.8, 0.7]), np.array([0.6, 0.6, 0.1]), [0, 1, 0]
    precision, recall = precision_recall(scores, overlap, np.array(which), difficult, 1)
    assert precision.tolist() == [0, 1, 0.5]  # the first says nothing yet
    assert recall.tolist() == [0, 1, 1]
    assert average_precision(precision, recall)[1] == 100


def test_half_is_enough_and_less_is_not():
    for overlap, right in ((0.5, 1.0), (0.49, 0.0)):
        found = np.array([0.9]), np.array([overlap]), np.array([0])
        precision, _ = precision_recall(*found, EASY, 1)
        assert precision[0] == right


def test_a_class_without_objects_is_left_out_and_one_without_detections_is_zero():
    true = np.array([[0.0, 0, 2, 2, 0, 0], [0, 0, 2, 2, 1, 1]])  # the second is difficult
    table = average_precisions(np.zeros((0, 4)), true, 3)
    assert table[0].tolist() == [0, 0]
    assert np.isnan(table[1:]).all()
