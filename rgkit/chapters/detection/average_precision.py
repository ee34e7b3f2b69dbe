"""Average precision as Pascal VOC has it: by eleven points (2007) and by the area (2010 on).

Everything is plain arrays of all detections of a split; pictures matter only where a detection is
given the true box that it overlaps most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

NEEDED = 0.5  # the overlap from which on a detection counts as found


def overlaps(a: Floats, b: Floats) -> Floats:
    """Return the intersection over union of boxes a [n, 4] and b [m, 4], [n, m]; x1, y1, x2, y2.

    >>> overlaps(np.array([[0.0, 0, 2, 2]]), np.array([[0.0, 0, 2, 1], [1, 1, 3, 3]])).round(3)
    array([[0.5  , 0.143]])
    """
    low, high = (
        np.maximum(a[:, None, :2], b[None, :, :2]),
        np.minimum(a[:, None, 2:], b[None, :, 2:]),
    )
    shared = (high - low).clip(min=0).prod(-1)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(-1) for x in (a, b))
    found: Floats = shared / (area_a[:, None] + area_b[None] - shared)
    return found


def nearest_true(
    boxes: Floats, labels: Ints, true_boxes: Floats, true_labels: Ints
) -> tuple[Floats, Ints]:
    """Return for the detections of a picture the true box of their class that they overlap most.

    Parameters
    ----------
    boxes, labels : [n, 4] and [n], detections
    true_boxes, true_labels : [m, 4] and [m]

    Returns
    -------
    the overlap [n], 0 without such a box, and which one it is [n]

    >>> one = np.array([[0.0, 0, 2, 2]])
    >>> nearest_true(one, np.array([3]), np.array([[0.0, 0, 2, 1]]), np.array([3]))
    (array([0.5]), array([0]))
    """
    if not len(true_labels):
        return np.zeros(len(labels)), np.zeros(len(labels), np.int64)
    found = np.where(labels[:, None] == true_labels[None], overlaps(boxes, true_boxes), 0.0)
    return found.max(1), found.argmax(1)


def precision_recall(
    scores: Floats, overlap: Floats, which: Ints, difficult: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return precision and recall of one class after each detection, the best first.

    The rules are those of VOC's own code: a detection goes to the true box that it overlaps most,
    and is right if that is by half or more and no better one took it before; a second one on the
    same box is false. One on a difficult box is neither right nor false.

    Parameters
    ----------
    scores, overlap, which : [n], of the detections of this class, see `nearest_true`; `which`
        counts the true boxes of this class in all pictures
    difficult : [m], of the true boxes of this class

    >>> scores, overlap, which = np.array([0.9, 0.8]), np.array([0.7, 0.7]), np.array([0, 0])
    >>> precision_recall(scores, overlap, which, np.array([False, False]))
    (array([1. , 0.5]), array([0.5, 0.5]))
    """
    order = np.argsort(-scores, kind="stable")
    hit, which = overlap[order] >= NEEDED, which[order]
    ignored = hit & difficult[which] if len(difficult) else np.zeros(len(hit), bool)
    first = np.zeros(len(hit), bool)
    places = np.flatnonzero(hit)
    first[places[np.unique(which[places], return_index=True)[1]]] = True
    right, counted = (first & ~ignored).cumsum(), (~ignored).cumsum()
    positives = int((~difficult).sum())
    # Before anything counts there is no precision; 0 / 1 leaves the curve as it is.
    precision: Floats = right / np.maximum(counted, 1)
    return precision, right / max(positives, 1)


def eleven_points(precision: Floats, recall: Floats) -> float:
    """Return the mean over recalls 0, 0.1 … 1 of the best precision at that recall or a higher one.

    >>> eleven_points(np.array([1.0, 0.5]), np.array([0.5, 0.5])).__round__(4)
    0.5455
    """
    points = np.arange(11) / 10
    best = [precision[recall >= point].max(initial=0.0) for point in points]
    return float(np.mean(best))


def area(precision: Floats, recall: Floats) -> float:
    """Return the area under precision over recall, made to fall from right to left.

    >>> area(np.array([1.0, 0.5]), np.array([0.5, 0.5]))
    0.5
    """
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((best * np.diff(recall, prepend=0.0)).sum())


def average_precisions(
    labels: Ints,
    scores: Floats,
    overlap: Floats,
    which: Ints,
    true_labels: Ints,
    difficult: NDArray[np.bool_],
    classes: int,
) -> Floats:
    """Return both average precisions of every class in percent, [classes, 2].

    Parameters
    ----------
    labels, scores, overlap, which : [n], of all detections of a split; `which` counts all true
        boxes of the split
    true_labels, difficult : [m], of all true boxes

    Returns
    -------
    by eleven points and by area; NaN for a class that has no true box but difficult ones

    >>> two, one = np.array([0, 0]), np.array([0])
    >>> average_precisions(one, np.array([0.9]), np.array([0.8]), one, two, two > 0, 2).round(1)
    array([[54.5, 50. ],
           [ nan,  nan]])
    """
    table = np.full((classes, 2), np.nan)
    which = np.where(overlap > 0, which, 0)  # without an overlap it says nothing
    for c in range(classes):
        own, said = true_labels == c, labels == c
        if not (own & ~difficult).any():
            continue
        place = own.cumsum() - 1  # of a true box among those of its class
        curve = precision_recall(scores[said], overlap[said], place[which[said]], difficult[own])
        table[c] = 100 * eleven_points(*curve), 100 * area(*curve)
    return table
