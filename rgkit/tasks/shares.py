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

from rgkit.data.augment import Plan
from rgkit.data.folders import Folder
from rgkit.models.classification import build
from rgkit.models.layout import channels_last
from rgkit.runs.imagefolder import ImageFolder
from rgkit.train.device import DTYPES, cores
from rgkit.train.step import Kept, make_optimizer, train_epoch

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


class FolderStep(Kept):
    """The plain step, on this process's share of every batch.

    Gradients are averaged over the processes, so with equal shares the step is that of one process
    with the whole batch, but for the batch norms, which see a share.
    """

    name = "plain"

    def __init__(self, config: ImageFolder, classes: int, images: Folder) -> None:
        where = images.where
        net = build(config.model, classes, seed=config.seed)
        self.net = channels_last(net, where, DTYPES[config.precision])
        self.optimizer = make_optimizer(config, self.net)
        self.parts = {"net": self.net, "optimizer": self.optimizer}
        self.config, self.images, self.where, self.epochs = config, images, where, 0
        shared = place_of()[1] > 1
        self.spread: nn.Module = DistributedDataParallel(self.net) if shared else self.net

    def epoch(self, plan: Plan, lr: np.ndarray, u: np.ndarray) -> tuple[Tensor, Tensor]:
        """Train one epoch; return losses and correct [steps] of the whole batches."""
        rank, processes = place_of()
        epoch = -1 if self.config.augment == "none" else self.epochs
        whole = [part.tolist() for part in plan[0].split(self.config.batch)]
        parts = [[(number, epoch) for number in batch[rank::processes]] for batch in whole]
        autocast, dtype = self.config.precision == "bfloat16", DTYPES[self.config.precision]
        batches = _batches(self.images, parts, self.where, dtype)
        losses, correct = train_epoch(self.spread, self.optimizer, batches, lr, u, autocast)
        self.epochs += 1
        return total(losses) / processes, total(correct)

    def state(self) -> dict[str, Any]:
        """Return weights, optimizer, and how many epochs were trained."""
        return super().state() | {"trained": self.epochs}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        super().load(state)
        self.epochs = state["trained"]


@torch.inference_mode()
def evaluate_folder(
    net: nn.Module, images: Folder, autocast: bool, batch: int = 100
) -> tuple[Tensor, ...]:
    """Return the mean loss, and in percent how often the right class is first, and in the first 5.

    Parameters
    ----------
    net : module from images to logits; it is left in evaluation mode
    images : the split; each process measures its share of it
    """
    net.eval()
    rank, processes = place_of()
    one = next(net.parameters())
    mine = [(number, -1) for number in range(rank, len(images), processes)]
    parts = [mine[start : start + batch] for start in range(0, len(mine), batch)]
    sums = torch.zeros(3, dtype=torch.float64, device=one.device)
    for x, y in _batches(images, parts, one.device, one.dtype):
        with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
            logits = net(x)
        loss = cross_entropy(logits.to(x.dtype), y, reduction="sum")
        hits = logits.topk(min(TOP, logits.shape[1])).indices == y[:, None]
        sums += torch.stack([loss, hits[:, 0].sum(), hits.sum()]).double()
    loss, first, five = total(sums) / len(images)
    return loss, 100 * first, 100 * five
