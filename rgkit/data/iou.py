"""Mean intersection over union, of a whole set from one table of counts."""

from __future__ import annotations

import torch
from torch import Tensor

VOID = 255  # pixels that nobody labelled


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return how many pixels of each class were given each label, without the void ones.

    Counts of several batches add up to those of the set. Nothing is read back from the device.

    Parameters
    ----------
    predicted : integer tensor of any shape, from 0 to classes - 1
    labels : of the same shape, from 0 to classes - 1, or `VOID`

    Returns
    -------
    int64 [classes, classes], a row for each true class and a column for each prediction

    Examples
    --------
    >>> confusion(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 255]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    if predicted.shape != labels.shape:
        raise ValueError(f"{tuple(predicted.shape)} predicted, {tuple(labels.shape)} labelled")
    places = labels.long() * classes + predicted.long()
    # The void pixels get a place of their own: to take them out would ask the device how many.
    places = torch.where(labels == VOID, classes**2, places).flatten()
    counts = torch.zeros(classes**2 + 1, dtype=torch.int64, device=places.device)
    counts.index_add_(0, places, torch.ones_like(places))
    return counts[:-1].view(classes, classes)


def iou(counts: Tensor) -> Tensor:
    """Return the intersection over union of each class; NaN where it is in neither.

    Parameters
    ----------
    counts : [..., classes, classes], from `confusion`

    Returns
    -------
    float64 [..., classes], between 0 and 1

    >>> iou(torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]])).tolist()
    [0.5, 0.5, nan]
    """
    both = counts.diagonal(dim1=-2, dim2=-1).double()
    return both / (counts.sum(-1) + counts.sum(-2) - both)  # 0 / 0 is NaN


def mean_iou(counts: Tensor) -> Tensor:
    """Return the mean over the classes that occur, in percent: the measure of the set.

    >>> mean_iou(torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]])).item()
    50.0
    """
    return 100 * iou(counts).nanmean(-1)


def mean_of_images(counts: Tensor) -> Tensor:
    """Return the mean of each image's own mean IoU, in percent, as the authors' code has it too.

    A class counts in the images where it occurs, so small and rare things weigh otherwise than in
    the measure of the set, and an image without a labelled pixel does not count.

    Parameters
    ----------
    counts : [images, classes, classes], a table of `confusion` for each image

    >>> right, half = torch.tensor([[2, 0], [0, 0]]), torch.tensor([[1, 1], [0, 2]])
    >>> round(mean_of_images(torch.stack([right, half])).item(), 2)
    79.17
    """
    return 100 * iou(counts).nanmean(-1).nanmean()
