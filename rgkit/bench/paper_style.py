"""The yardstick: the training loop that users of the papers' code run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rgkit.data.vision import import_torchvision
from rgkit.models.classification import build
from rgkit.train.device import cores, pick_device

import_torchvision()
from torchvision import transforms  # noqa: E402

BATCH, MEAN, STD, PADDING = 128, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 4
Block = Callable[[], float]  # takes some steps and returns images per second


def pixels(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images of CIFAR's size and labels: no speed here depends on what they show."""
    draws = np.random.default_rng(0)
    return draws.integers(0, 256, (count, 3, 32, 32), np.uint8), draws.integers(0, 10, count)


class _Images(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images one at a time through torchvision's transforms, as its CIFAR10 hands them out."""

    def __init__(self, count: int) -> None:
        shown, self.labels = pixels(count)
        self.pixels = np.ascontiguousarray(shown.transpose(0, 2, 3, 1))
        steps = [transforms.RandomCrop(32, PADDING), transforms.RandomHorizontalFlip()]
        self.look = transforms.Compose(
            [*steps, transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.look(Image.fromarray(self.pixels[at])), int(self.labels[at])


def paper_style(model: str, steps: int, device: str = "auto") -> Block:
    """Return the loop that users of the papers' code run: the yardstick.

    A DataLoader with two workers and torchvision's per-image transforms, float32, contiguous
    memory, `.item()` at each step, all threads that torch takes by itself. The workers' start and
    the first batch are not timed.
    """
    where = pick_device(device)
    net = build(model).to(where)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.5, weight_decay=1e-4)
    images = _Images(BATCH * (steps + 1))
    return in_a_loop(images, BATCH, where, optimizer, lambda x, y: cross_entropy(net(x), y))


def in_a_loop(
    images: torch.utils.data.Dataset[Any],
    batch: int,
    where: torch.device,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Tensor, Tensor], Tensor],
) -> Block:
    """Return one pass over images with a DataLoader of two workers; the first batch is not timed.

    It takes all cores and reads every loss, as such code usually does.
    """

    def block() -> float:
        loader = torch.utils.data.DataLoader(images, batch, shuffle=True, num_workers=2)
        threads, start, total = torch.get_num_threads(), 0.0, 0.0
        torch.set_num_threads(cores())
        try:
            for number, (x, y) in enumerate(loader):
                loss = loss_of(x.to(where), y.to(where))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
                if number == 0:  # the workers' start is not timed
                    start = time.perf_counter()
            return batch * (len(loader) - 1) / (time.perf_counter() - start)
        finally:
            torch.set_num_threads(threads)

    return block
