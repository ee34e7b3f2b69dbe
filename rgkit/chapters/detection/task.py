"""Detection: the loss of a batch, what is measured of a whole split, and what a record keeps."""

from __future__ import annotations

import functools
import json

import numpy as np
import torch
from torch import Tensor, nn

from rgkit.chapters.detection import Detection, boxes
from rgkit.chapters.detection.average_precision import average_precisions, nearest_true
from rgkit.chapters.detection.network import Detector, Target, build
from rgkit.data.augment import Augmenter
from rgkit.runs.samples import SHOWN
from rgkit.train.device import DTYPES
from rgkit.train.loop import Split, Splits, Task, split
from rgkit.train.step import PlainStep, forward, predictions

KEPT = 0.1  # the score from which on a record keeps a detection of a test picture


class Boxes:
    """The objects of pictures, handed out mirrored where their pictures are.

    Parameters
    ----------
    objects : float tensor [N, most, 6]: x1, y1, x2, y2 in pixels, class, and 1 if difficult; the
        class is -1 where there is no object
    width : of the pictures
    """

    def __init__(self, objects: torch.Tensor, width: int) -> None:
        self.objects, self.width = objects, width

    def __len__(self) -> int:
        return len(self.objects)

    def batch(self, *plan: torch.Tensor) -> torch.Tensor:
        """Return the objects [batch, most, 6] of a part of an `epoch_plan`, which cuts nothing."""
        index, _, _, mirror = plan
        found = self.objects[index]
        turned = found.clone()
        turned[..., 0], turned[..., 2] = self.width - found[..., 2], self.width - found[..., 0]
        return torch.where(mirror[:, None, None] & (found[..., 4:5] >= 0), turned, found)


@functools.lru_cache(maxsize=2)  # on the device, for the next run on them
def _load(
    name: str, size: int, count: int, held: int, precision: str, where: torch.device
) -> Splits:
    found, dtype = boxes.load(name, size), DTYPES[precision]

    def made(images: Tensor, objects: Tensor) -> Split:
        return Augmenter(images, found.mean, found.std, 0, dtype), Boxes(objects.to(dtype), size)

    train = found.train_images, found.train_objects
    test = found.test_images, found.test_objects
    return *split(name, count, held, where, train, test, made), len(found.classes)


def _splits(c: Detection, where: torch.device) -> Splits:
    return _load(c.data, c.size, c.images, c.validation, c.precision, where)


class BoxStep(PlainStep):
    """The plain step, its memory as its records were made.

    With the channels last each number rounds differently, and so other regions are drawn; it would
    be no faster.
    """

    last = False


def _step(kind: str, c: Detection, classes: int, images: Augmenter, objects: Boxes) -> BoxStep:
    own = {"size": c.size, "head": c.head, "proposals": c.proposals}
    net = build(c.model, classes, seed=c.seed, **own)
    return BoxStep(c, net, images, objects, find_objects)


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
    total = torch.zeros((), dtype=torch.float64, device=objects.objects.device)
    rows = []
    assert isinstance(net, Detector)
    true, before = objects.objects.cpu().numpy(), 0
    for index, x, seen in predictions(net, images, autocast, batch, net.see):
        features = seen.to(x.dtype)
        loss, _ = net.losses(x, features, targets_of(objects.objects[index]))
        total += loss.double() * len(index)
        for place, found in zip(index.tolist(), net.detect(x, features), strict=True):
            real = true[place][true[place][:, 4] >= 0]
            boxes, labels, scores = (found[n].cpu().numpy() for n in ("boxes", "labels", "scores"))
            overlap, which = nearest_true(boxes, labels - 1, real[:, :4], real[:, 4])
            rows.append(np.stack([labels - 1, scores, overlap, which + before]))
            before += len(real)
    labels, scores, overlap, which = np.concatenate(rows, 1)
    real = true[true[..., 4] >= 0]
    table = average_precisions(
        labels, scores, overlap, which.astype(np.int64), real[:, 4], real[:, 5] > 0, net.classes
    )
    means = torch.from_numpy(np.nanmean(table, 0)).to(total.device)
    return total / len(objects), means[0], means[1]


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
    ("loss", "map_11", "map_area"), _splits, _step, evaluate_boxes, samples=first_detections
)
