"""Detection: the loss of a batch, what is measured of a whole split, and what a record keeps.

Average precision is as Pascal VOC has it: by eleven points (2007) and by the area (2010 on).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rgkit.chapters.detection import Detection, load
from rgkit.chapters.detection.network import HALF, Detector, Target, box_iou, build
from rgkit.data.augment import Augmenter
from rgkit.data.source import Dataset
from rgkit.runs.records import SHOWN
from rgkit.train.device import DTYPES
from rgkit.train.loop import Split, Task, splits
from rgkit.train.step import PlainStep, forward, predictions

KEPT = 0.1  # the score from which on a record keeps a detection of a test picture

Array = NDArray[Any]


class Boxes:
    """The objects of pictures, handed out mirrored where their pictures are.

    Parameters
    ----------
    objects : float tensor [N, most, 6], see `rgkit.chapters.detection.read_objects`
    width : of the pictures
    """

    def __init__(self, objects: Tensor, width: int) -> None:
        self.objects, self.width = objects, width

    def __len__(self) -> int:
        return len(self.objects)

    def batch(self, *plan: Tensor) -> Tensor:
        """Return the objects [batch, most, 6] of a part of an `epoch_plan`, which cuts nothing."""
        index, _, _, mirror = plan
        found = self.objects[index]
        turned = found.clone()
        turned[..., 0], turned[..., 2] = self.width - found[..., 2], self.width - found[..., 0]
        return torch.where(mirror[:, None, None] & (found[..., 4:5] >= 0), turned, found)


def _load(data: str, size: int, precision: str) -> tuple[Dataset, Callable[..., Split]]:
    found, dtype = load(data, size), DTYPES[precision]

    def made(images: Tensor, objects: Tensor) -> Split:
        look = Augmenter(images, found.source.mean, found.source.std, 0, dtype)
        return look, Boxes(objects.to(dtype), size)

    return found, made


class BoxStep(PlainStep):
    """The plain step, its memory as its records were made.

    With the channels last each number rounds differently, and so other regions are drawn; it would
    be no faster.
    """

    last = False


def _step(kind: str, c: Detection, classes: int, images: Augmenter, objects: Boxes) -> BoxStep:
    own = {"size": c.size, "head": c.head, "proposals": c.proposals}
    return BoxStep(c, build(c.model, classes, seed=c.seed, **own), images, objects, find_objects)


def targets_of(objects: Tensor) -> list[Target]:
    """Return what a batch of objects [batch, most, 6] teaches: those that are not difficult.

    >>> targets_of(torch.tensor([[[0.0, 0, 4, 4, 2, 0], [0, 0, 0, 0, -1, 0]]]))[0]["labels"]
    tensor([3])
    """
    taught = [rows[(rows[:, 4] >= 0) & (rows[:, 5] == 0)] for rows in objects]
    return [{"boxes": rows[:, :4], "labels": rows[:, 4].long() + 1} for rows in taught]


def find_objects(
    net: nn.Module, images: Tensor, objects: Tensor, autocast: bool
) -> tuple[Tensor, Tensor]:
    """Return the sum of the four losses of a batch, and how many pictures are proposed right."""
    assert isinstance(net, Detector)
    # The heads decide by coordinates, for which eight bits are too few.
    features = forward(net.see, images, autocast).to(images.dtype)
    return net.losses(images, features, targets_of(objects))


def nearest_true(found: Target, objects: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each detection of a picture the object of its class that it overlaps most.

    Parameters
    ----------
    found : "boxes" [n, 4] and "labels" [n] from 1
    objects : [most, 6]

    Returns
    -------
    the overlap (IoU) [n], 0 without such an object, and which one it is [n]

    >>> found = {"boxes": torch.tensor([[0.0, 0, 2, 2]]), "labels": torch.tensor([4])}
    >>> nearest_true(found, torch.tensor([[0.0, 0, 2, 2, 1, 0], [0, 0, 2, 1, 3, 0]]))
    (tensor([0.5000]), tensor([1]))
    """
    same = found["labels"][:, None] - 1 == objects[:, 4]
    overlap = torch.where(same, box_iou(found["boxes"], objects[:, :4]), 0.0)
    return overlap.amax(1), overlap.argmax(1)


def precision_recall(
    scores: Array, overlap: Array, which: Array, difficult: Array, positives: int
) -> tuple[Array, Array]:
    """Return precision and recall of one class after each detection, the best first.

    The rules are those of VOC's own code: a detection goes to the true box that it overlaps most,
    and is right if that is by half or more and no better one took it before; a second one on the
    same box is false. One on a difficult box is neither right nor false.

    Parameters
    ----------
    scores, overlap, which : [n], of the detections of this class, see `nearest_true`; `which`
        counts the true boxes of all pictures
    difficult : bool [m], of all true boxes
    positives : how many of this class there are, without the difficult ones

    >>> scores, overlap, which = np.array([0.9, 0.8]), np.array([0.7, 0.7]), np.array([0, 0])
    >>> precision_recall(scores, overlap, which, np.array([False, False]), 2)
    (array([1. , 0.5]), array([0.5, 0.5]))
    """
    order = np.argsort(-scores, kind="stable")
    hit, which = overlap[order] >= HALF, which[order]
    ignored, first = hit & difficult[which], np.zeros(len(hit), bool)
    places = np.flatnonzero(hit)
    first[places[np.unique(which[places], return_index=True)[1]]] = True
    right, counted = (first & ~ignored).cumsum(), (~ignored).cumsum()
    # Before anything counts there is no precision; 0 / 1 leaves the curve as it is.
    return right / np.maximum(counted, 1), right / positives


def average_precision(precision: Array, recall: Array) -> tuple[float, float]:
    """Return the average precision of one class, by eleven points and by area, in percent.

    That is the mean over recalls 0, 0.1 … 1 of the best precision at that recall or a higher one,
    and the area under precision over recall, made to fall from right to left.

    >>> [round(average, 2) for average in average_precision(np.array([1, 0.5]), np.array([0.5, 1]))]
    [77.27, 75.0]
    """
    points = np.arange(11) / 10
    eleven = [precision[recall >= point].max(initial=0.0) for point in points]
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return 100 * float(np.mean(eleven)), 100 * float((best * np.diff(recall, prepend=0.0)).sum())


def average_precisions(found: Array, objects: Array, classes: int) -> Array:
    """Return both average precisions of every class in percent, [classes, 2].

    Parameters
    ----------
    found : [n, 4], of all detections of a split: class from 0, score, and what `nearest_true` says
    objects : [m, 6], of all pictures, one after another

    Returns
    -------
    by eleven points and by area; NaN for a class that has no object but difficult ones

    >>> objects = np.array([[0.0, 0, 2, 2, 0, 0], [0, 0, 2, 2, 0, 1]])
    >>> average_precisions(np.array([[0, 0.9, 0.8, 0]]), objects, 2)
    array([[100., 100.],
           [ nan,  nan]])
    """
    labels, difficult = objects[:, 4], objects[:, 5] > 0
    table = np.full((classes, 2), np.nan)
    for c in range(classes):
        positives = int(((labels == c) & ~difficult).sum())
        if positives:
            scores, overlap, which = found[found[:, 0] == c, 1:].T
            curve = precision_recall(scores, overlap, which.astype(int), difficult, positives)
            table[c] = average_precision(*curve)
    return table


@torch.no_grad()
def evaluate_boxes(
    net: nn.Module, images: Augmenter, objects: Boxes, autocast: bool, batch: int = 16
) -> tuple[Tensor, ...]:
    """Return loss and mean average precision of a split, by eleven points and by area.

    Parameters
    ----------
    net : Detector; it is left in evaluation mode
    images, objects : the split

    Returns
    -------
    float64 tensors of shape []: the loss is a mean over pictures, whose regions are sampled at
    random as in training; the others are in percent, means over the classes that have objects
    """
    assert isinstance(net, Detector)
    true = objects.objects
    total, rows = torch.zeros((), dtype=torch.float64, device=true.device), []
    for index, x, seen in predictions(net, images, autocast, batch, net.see):
        features = seen.to(x.dtype)
        loss, _ = net.losses(x, features, targets_of(true[index]))
        total += loss.double() * len(index)
        for place, found in zip(index.tolist(), net.detect(x, features), strict=True):
            overlap, which = nearest_true(found, true[place])
            numbers = found["labels"] - 1, found["scores"], overlap, which + place * true.shape[1]
            rows.append(torch.stack([column.double() for column in numbers], 1))
    every = true.flatten(0, 1).cpu().numpy()
    table = average_precisions(torch.cat(rows).cpu().numpy(), every, net.classes)
    eleven, area = torch.from_numpy(np.nanmean(table, 0)).to(total.device)
    return total / len(objects), eleven, area


@torch.inference_mode()
def first_detections(
    net: nn.Module, images: Augmenter, objects: Boxes, autocast: bool
) -> list[str]:
    """Return what a detector finds in the first `SHOWN` pictures of a split, each as JSON.

    Each is a list of [x1, y1, x2, y2, class, score] with the class from 0, in parts of the picture,
    the best first and none below `KEPT`.
    """
    assert isinstance(net, Detector)
    _, x, features = next(predictions(net, images, autocast, SHOWN, net.see))
    texts = []
    for found in net.detect(x, features.to(x.dtype)):
        parts = zip(*(found[n].tolist() for n in ("boxes", "labels", "scores")), strict=True)
        kept = [
            [*(round(c / objects.width, 4) for c in box), label - 1, round(score, 3)]
            for box, label, score in parts
            if score >= KEPT
        ]
        texts.append(json.dumps(kept))
    return texts


TASK = Task(
    ("loss", "map_11", "map_area"), partial(splits, _load), _step, evaluate_boxes,
    samples=first_detections,
)  # fmt: skip
