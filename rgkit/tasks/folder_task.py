"""Training on folders of images as a task of the one loop; what it needs is imported when it runs.

torchvision's readers and transforms take a second to import, which no other task should pay.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rgkit.runs.kinds import ImageFolder
from rgkit.train.step import Stepper


def folders(config: ImageFolder, where: torch.device) -> Any:
    """Return the splits of a run: images that stay on the disk, and their paths and labels."""
    from rgkit.data.folders import Folder

    train = Folder(config.data, "train", config.size, config.images, config.seed, where)
    test = Folder(config.data, "val", config.size)
    none: list[int] = []
    return (train, train.rows), (test, test.rows), (test, none), len(train.classes)


def folder_step(
    kind: str, config: ImageFolder, classes: int, images: Any, rows: Any, place: int = 0
) -> Stepper:
    """Return the plain step: the captured one is for images that fit on the device."""
    if kind not in ("auto", "plain"):
        raise ValueError(f"step={kind!r} given with folders of images; use 'plain'")
    from rgkit.tasks.shares import FolderStep

    return FolderStep(config, classes, images)


def evaluate_split(net: nn.Module, images: Any, rows: Any, autocast: bool) -> tuple[Tensor, ...]:
    """Return what is measured of a split, see `rgkit.tasks.shares.evaluate_folder`."""
    from rgkit.tasks.shares import evaluate_folder

    return evaluate_folder(net, images, autocast)
