"""Detection: the loss of a batch, what is measured of a whole split, and what a record keeps."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rgkit.data.augment import Augmenter, Boxes
from rgkit.models.detection import Detector, Target
from rgkit.tasks.average_precision import average_precisions, nearest_true
from rgkit.tasks.samples import SHOWN

KEPT = 0.1  # the score from which on a record keeps a detection of a test picture


def targets_of(objects: Tensor) -> list[Target]:
    """Return what a batch of objects [batch, most, 6] teaches: those that are not difficult.

    >>> targets_of(torch.tensor([[[0.0, 0, 4, 4, 2, 0], [0, 0, 0, 0, -1, 0]]]))[0]["labels"]
    tensor([3])
    """
    taught = [rows[(rows[:, 4] >= 0) & (rows[:, 5] == 0)] for rows in objects]
    return [{"boxes": rows[:, :4], "labels": rows[:, 4].long() + 1} for rows in taught]


def _losses(net: nn.Module, images: Tensor, objects: Tensor, autocast: bool) -> Any:
    assert isinstance(net, Detector)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
        features = net.see(images)
    # The heads decide by coordinates, for which eight bits are too few.
    features = features.to(images.dtype)
    return features, *net.losses(images, features, targets_of(objects))


def find_objects(
    net: nn.Module, images: Tensor, objects: Tensor, autocast: bool
) -> tuple[Tensor, Tensor]:
    """Return the sum of the four losses of a batch, and how many pictures are proposed right."""
    _, loss, right = _losses(net, images, objects, autocast)
    return loss, right


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
    net.eval()
    total = torch.zeros((), dtype=torch.float64, device=objects.objects.device)
    rows = []
    assert isinstance(net, Detector)
    true, before = objects.objects.cpu().numpy(), 0
    for index in torch.arange(len(objects), device=total.device).split(batch):
        x = images.plain(index)
        features, loss, _ = _losses(net, x, objects.objects[index], autocast)
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
    net.eval()
    x = images.plain(torch.arange(min(SHOWN, len(objects)), device=objects.objects.device))
    assert isinstance(net, Detector)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
        features = net.see(x)
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
