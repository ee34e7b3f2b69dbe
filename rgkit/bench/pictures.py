"""What the blocks train on: random pictures with labels or masks, and a network for them.

No speed here depends on what the pictures show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rgkit.data.scenes import VOID
from rgkit.data.source import IMAGENET
from rgkit.data.vision import import_torchvision
from rgkit.models import classification, segmentation
from rgkit.runs.kinds import Classification, Segmentation
from rgkit.tasks.segmentation import AUXILIARY

import_torchvision()
from torchvision.transforms import functional as TF  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

Case = Classification | Segmentation  # the network, the batch, and which of the two tasks
MASKS = Segmentation(model="pspnet('resnet18', 16)", batch=8)
CLASSES = 11


def padding(config: Case) -> int:
    """Return by how many pixels a picture is moved at most: masks are only mirrored."""
    return 0 if isinstance(config, Segmentation) else 4


def pictures(config: Case, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pictures of CIFAR's size with labels, or of CamVid's at `quick` with masks.

    A tenth of a mask is void.

    >>> [part.shape for part in pictures(MASKS, 2)]
    [(2, 3, 48, 64), (2, 48, 64)]
    """
    draws = np.random.default_rng(0)
    if not isinstance(config, Segmentation):
        return draws.integers(0, 256, (count, 3, 32, 32), np.uint8), draws.integers(0, 10, count)
    images = draws.integers(0, 256, (count, 3, 48, 64), np.uint8)
    masks = draws.integers(0, CLASSES, (count, 48, 64), np.uint8)
    return images, np.where(draws.random(masks.shape) < 0.1, np.uint8(VOID), masks)


def network(config: Case) -> nn.Module:
    """Return a fresh network."""
    if isinstance(config, Segmentation):
        return segmentation.build(config.model, CLASSES)
    return classification.build(config.model)


def loss_of(found: Any, labels: Tensor) -> Tensor:
    """Return the cross-entropy of what a network returns: one output, or two maps of a picture."""
    if isinstance(found, Tensor):
        return cross_entropy(found, labels)
    main, second = (cross_entropy(logits, labels.long(), ignore_index=VOID) for logits in found)
    return main + AUXILIARY * second


class OneByOne(torch.utils.data.Dataset[tuple[Tensor, Any]]):
    """Pictures one at a time through PIL and torchvision, as users of the papers' code have it."""

    def __init__(self, config: Case, count: int) -> None:
        images, self.labels = pictures(config, count)
        self.pixels = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        self.crop = v2.RandomCrop(32, padding(config)) if padding(config) else None

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, at: int) -> tuple[Tensor, Any]:
        from PIL import Image

        image, mirrored = Image.fromarray(self.pixels[at]), torch.rand(()) < 0.5
        image = self.crop(image) if self.crop else image
        image = TF.hflip(image) if mirrored else image
        look = TF.normalize(TF.to_tensor(image), *IMAGENET)
        if self.labels.ndim == 1:
            return look, int(self.labels[at])
        mask = Image.fromarray(self.labels[at])
        return look, torch.from_numpy(np.array(TF.hflip(mask) if mirrored else mask))
