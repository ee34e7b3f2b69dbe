"""A step on folders of images that several processes share: distributed data parallel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from rgkit.chapters.image_folder import ImageFolder
from rgkit.chapters.image_folder.folders import Folder
from rgkit.data.augment import Plan
from rgkit.models.classification import build
from rgkit.train.device import DTYPES, cores
from rgkit.train.loop import Splits, Task
from rgkit.train.step import PlainStep, classify, descend, forward

TOP = 5


def place_of() -> tuple[int, int]:
    """Return the rank of this process and how many there are; (0, 1) for one alone.

    >>> place_of()
    (0, 1)
    """
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def total(values: Tensor) -> Tensor:
    """Add up a tensor over all processes, in place."""
    if place_of()[1] > 1:
        distributed.all_reduce(values)
    return values


def _splits(config: ImageFolder, where: torch.device) -> Splits:
    """Return the splits of a run: images that stay on the disk, and their paths and labels."""
    train = Folder(config.data, "train", config.size, config.images, config.seed, where)
    test = Folder(config.data, "val", config.size)
    return (train, train.rows), (test, test.rows), (test, []), len(train.classes)


def _batches(
    images: Folder, parts: Sequence[list[tuple[int, int]]], where: torch.device, dtype: torch.dtype
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read the images of each part and move them to the device."""
    workers = min(8, cores()) if where.type == "cuda" else 0
    # The loader draws a number for its workers; training must not notice.
    loader: DataLoader[Any] = DataLoader(
        images, batch_sampler=list(parts), num_workers=workers, pin_memory=where.type == "cuda",
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    for x, y in loader:
        moved = x.to(where, dtype, non_blocking=True, memory_format=torch.channels_last)
        yield moved, y.to(where, non_blocking=True)


class FolderStep(PlainStep):
    """The plain step, on this process's share of every batch.

    Gradients are averaged over the processes, so with equal shares the step is that of one process
    with the whole batch, but for the batch norms, which see a share.
    """

    def __init__(self, config: ImageFolder, classes: int, images: Folder) -> None:
        net = build(config.model, classes, seed=config.seed)
        super().__init__(config, net, images, images.rows)
        shared = place_of()[1] > 1
        self.spread: nn.Module = DistributedDataParallel(self.net) if shared else self.net

    def batches(self, plan: Plan, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of this process's share of an epoch's batches."""
        rank, processes = place_of()
        epoch = -1 if self.config.augment == "none" else number
        whole = [part.tolist() for part in plan[0].split(self.config.batch)]
        parts = [[(index, epoch) for index in batch[rank::processes]] for batch in whole]
        dtype = DTYPES[self.config.precision]
        return _batches(self.images, parts, self.images.where, dtype)

    def take(self, images: Tensor, labels: Tensor, u: float) -> tuple[Tensor, Tensor]:
        """Take one step on a share."""
        loss, right = classify(self.spread, images, labels, self.autocast)
        descend(self.optimizer, loss, u)
        return loss.detach(), right

    def epoch(
        self, plan: Plan, lr: np.ndarray, u: np.ndarray, number: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Train one epoch; return losses and correct [steps] of the whole batches."""
        losses, correct = super().epoch(plan, lr, u, number)
        return total(losses) / place_of()[1], total(correct)


@torch.inference_mode()
def evaluate_folder(
    net: nn.Module, images: Folder, rows: Any, autocast: bool, batch: int = 100
) -> tuple[Tensor, ...]:
    """Return the mean loss, and in percent how often the right class is first, and in the first 5.

    Parameters
    ----------
    net : module from images to logits; it is left in evaluation mode
    images, rows : the split; each process measures its share of it
    """
    net.eval()
    rank, processes = place_of()
    one = next(net.parameters())
    mine = [(number, -1) for number in range(rank, len(images), processes)]
    parts = [mine[start : start + batch] for start in range(0, len(mine), batch)]
    sums = torch.zeros(3, dtype=torch.float64, device=one.device)
    for x, y in _batches(images, parts, one.device, one.dtype):
        logits = forward(net, x, autocast)
        loss = cross_entropy(logits.to(x.dtype), y, reduction="sum")
        hits = logits.topk(min(TOP, logits.shape[1])).indices == y[:, None]
        sums += torch.stack([loss, hits[:, 0].sum(), hits.sum()]).double()
    loss, first, five = total(sums) / len(images)
    return loss, 100 * first, 100 * five


TASK = Task(
    ("loss", "accuracy", "top5"),
    _splits,
    lambda kind, config, classes, images, rows: FolderStep(config, classes, images),
    evaluate_folder,
)
