"""Segmentation: every pixel is given a label."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rgkit.data import pictures as datasets
from rgkit.data.augment import Augmenter, Masks
from rgkit.data.scenes import VOID
from rgkit.data.source import Dataset
from rgkit.models.segmentation import build
from rgkit.runs.config import ConfigError, Segmentation
from rgkit.runs.records import SHOWN, pack
from rgkit.train.device import DTYPES
from rgkit.train.loop import Split, Task, splits
from rgkit.train.step import PlainStep, forward, predictions

AUXILIARY = 0.4  # weight of the loss on stage 3, as Zhao et al. 2017 have it and RG's code


def _load(
    data: str, size: int, augment: str, precision: str
) -> tuple[Dataset, Callable[..., Split]]:
    margin = size // 8 if "crop" in augment else 0  # how far a crop can move
    found = datasets.load_masks(data, size, margin)
    real = found.margin > 0
    look = found.source.mean, found.source.std, margin, DTYPES[precision], real

    def made(images: Tensor, labels: Tensor) -> Split:
        return Augmenter(images, *look), Masks(labels, margin, real)

    return found, made


def _step(
    kind: str, config: Segmentation, classes: int, images: Augmenter, masks: Masks
) -> PlainStep:
    if config.network().name == "pspnet" and len(masks) % config.batch == 1:
        raise ConfigError(
            f"batch={config.batch} given; the last batch of {len(masks):,} images would be a "
            "single one, of which PSPNet's norms cannot take a mean"
        )
    net = build(config.model, classes, seed=config.seed, weights=config.weights)
    return PlainStep(config, net, images, masks, label_pixels)


def label_pixels(
    net: nn.Module, images: Tensor, masks: Tensor, autocast: bool
) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch and how many images are right, each by its part of right pixels.

    The loss is the mean cross-entropy over the pixels that are not void, and `AUXILIARY` times that
    of the second output where the network has one.
    """
    found = forward(net, images, autocast)
    logits, *second = found if isinstance(found, tuple) else (found,)
    loss = _loss(logits.to(images.dtype), masks)
    for auxiliary in second:
        loss = loss + AUXILIARY * _loss(auxiliary.to(images.dtype), masks)
    known = masks != VOID
    right = (logits.detach().argmax(1) == masks) & known
    return loss, len(masks) * right.sum() / known.sum().clamp(min=1)


def _loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean cross-entropy over the labelled pixels; 0, not NaN, where there is none."""
    total = cross_entropy(logits, masks, ignore_index=VOID, reduction="sum")
    return total / (masks != VOID).sum().clamp(min=1)


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


@torch.inference_mode()
def evaluate(
    net: nn.Module, images: Augmenter, masks: Masks, autocast: bool, batch: int = 16
) -> tuple[Tensor, ...]:
    """Return loss, pixel accuracy, mean IoU and the mean of images of a split, on the device.

    Parameters
    ----------
    net : module from images to logits; it is left in evaluation mode
    images, masks : the split

    Returns
    -------
    float64 tensors of shape []: the loss is a mean over pixels, the others are in percent
    """
    loss, tables = torch.zeros((), device=images.where), []
    for index, x, logits in predictions(net, images, autocast, batch):
        labels = masks.plain(index)
        loss += cross_entropy(logits.to(x.dtype), labels, ignore_index=VOID, reduction="sum")
        guess, classes = logits.argmax(1), logits.shape[1]
        tables += [confusion(p, y, classes) for p, y in zip(guess, labels, strict=True)]
    counts = torch.stack(tables)
    whole = counts.sum(0)
    pixels = whole.sum().double()
    right = 100 * whole.diagonal().sum().double() / pixels
    return loss.double() / pixels, right, mean_iou(whole), mean_of_images(counts)


@torch.inference_mode()
def label_maps(net: nn.Module, images: Augmenter, masks: Masks, autocast: bool) -> list[str]:
    """Return the label of every pixel of the first pictures of a split, see `rgkit.runs.records`.

    Parameters
    ----------
    net : module from images to logits; it is left in evaluation mode
    images, masks : the split
    """
    _, _, logits = next(predictions(net, images, autocast, SHOWN))
    return [pack(each) for each in logits.argmax(1).to("cpu", torch.uint8).numpy()]


TASK = Task(
    ("loss", "accuracy", "miou", "miou_of_images"), partial(splits, _load), _step, evaluate,
    samples=label_maps,
)  # fmt: skip
