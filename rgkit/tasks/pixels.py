"""Segmentation: the loss of a batch, and what is measured of a whole split."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rgkit.data.augment import Augmenter, Masks
from rgkit.data.iou import VOID, confusion, mean_iou, mean_of_images

AUXILIARY = 0.4  # weight of the loss on stage 3, as Zhao et al. 2017 have it and RG's code


def label_pixels(
    net: nn.Module, images: Tensor, masks: Tensor, autocast: bool
) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch and how many images are right, each by its part of right pixels.

    The loss is the mean cross-entropy over the pixels that are not void, and `AUXILIARY` times that
    of the second output where the network has one.
    """
    with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
        found = net(images)
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


@torch.inference_mode()
def evaluate_pixels(
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
    net.eval()
    loss, tables = torch.zeros((), device=masks.images.device), []
    for index in torch.arange(len(masks), device=masks.images.device).split(batch):
        x, labels = images.plain(index), masks.plain(index)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
            logits = net(x)
        loss += cross_entropy(logits.to(x.dtype), labels, ignore_index=VOID, reduction="sum")
        guess, classes = logits.argmax(1), logits.shape[1]
        tables += [confusion(p, y, classes) for p, y in zip(guess, labels, strict=True)]
    counts = torch.stack(tables)
    whole = counts.sum(0)
    pixels = whole.sum().double()
    right = 100 * whole.diagonal().sum().double() / pixels
    return loss.double() / pixels, right, mean_iou(whole), mean_of_images(counts)
