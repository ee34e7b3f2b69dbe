"""Blocks of training steps that return images per second: the yardstick, ours, several at once.

They train on random pictures: no speed here depends on what those show.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from joblib import cpu_count
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy

from rgkit.data.augment import Augmenter, epoch_plan
from rgkit.data.compat import import_torchvision
from rgkit.data.source import IMAGENET
from rgkit.models.classification import build
from rgkit.runs.config import Classification
from rgkit.stats.differences import difference
from rgkit.tasks.classification import make_step
from rgkit.train.device import DTYPES, arithmetic, pick_device, reproducible

import_torchvision()
from torchvision.transforms import v2  # noqa: E402

Name = TypeVar("Name")
Block = Callable[[], float]  # takes some steps and returns images per second
PADDING = 4  # by how many pixels a picture is moved at most


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random pictures of CIFAR's size with labels.

    >>> [part.shape for part in pictures(2)]
    [(2, 3, 32, 32), (2,)]
    """
    draws = np.random.default_rng(0)
    return draws.integers(0, 256, (count, 3, 32, 32), np.uint8), draws.integers(0, 10, count)


class OneByOne(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Pictures one at a time through PIL and torchvision, as users of the papers' code have it."""

    def __init__(self, count: int) -> None:
        images, self.labels = pictures(count)
        self.pixels = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        crop = v2.RandomCrop(32, PADDING), v2.RandomHorizontalFlip()
        tensor = v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*IMAGENET)
        self.look = v2.Compose([*crop, *tensor])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        return self.look(Image.fromarray(self.pixels[at])), int(self.labels[at])


def timed(epoch: Callable[[], Tensor], images: int) -> Block:
    """Return a block of one `epoch`, which trains on so many images and returns a number.

    One that may have to compile is not timed: it comes before.
    """

    def block() -> float:
        with reproducible(0):
            torch.set_num_threads(1)
            start = time.perf_counter()
            epoch().item()
            return images / (time.perf_counter() - start)

    block()
    return block


def interleaved(blocks: Mapping[Name, Block], rounds: int) -> dict[Name, list[float]]:
    """Run the blocks in turn, so that a slow minute of the machine slows all of them."""
    found: dict[Name, list[float]] = {name: [] for name in blocks}
    for number in range(rounds):
        for name in list(blocks)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(blocks[name]())
    return found


def ratio(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the geometric mean of the ratio of paired speeds, and its 95 % interval.

    >>> [round(value, 2) for value in ratio([2.0, 8.0, 4.0], [1.0, 2.0, 1.0])]
    [3.17, 1.17, 8.58]
    """
    found = difference(np.log(above) - np.log(below))
    return [math.exp(value) for value in (found.mean, *found.interval())]


def paper_style(config: Classification, steps: int, device: str = "auto") -> Block:
    """Return the loop that users of the papers' code run: the yardstick.

    A DataLoader with two workers and transforms image by image, float32, contiguous memory,
    `.item()` at each step, all cores. The workers' start and the first batch are not timed.
    """
    where = pick_device(device)
    net = build(config.model).to(where)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.5, weight_decay=1e-4)
    images = OneByOne(config.batch * (steps + 1))

    def block() -> float:
        loader = torch.utils.data.DataLoader(images, config.batch, shuffle=True, num_workers=2)
        threads, start, total = torch.get_num_threads(), 0.0, 0.0
        torch.set_num_threads(cpu_count())
        try:
            for number, (x, y) in enumerate(loader):
                loss = cross_entropy(net(x.to(where)), y.to(where))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
                if number == 0:
                    start = time.perf_counter()
            return config.batch * steps / (time.perf_counter() - start)
        finally:
            torch.set_num_threads(threads)

    return block


def training(
    config: Classification, steps: int, device: str = "auto", precision: str = "",
    kind: str = "auto",
) -> Callable[[float | None], Tensor]:  # fmt: skip
    """Return an epoch of so many steps of rgkit, given u; None is plain training.

    Parameters
    ----------
    precision : by default what the machine chooses
    kind : see `rgkit.tasks.classification.make_step`
    """
    where = pick_device(device)
    config = config.replace(precision=precision or arithmetic(config, where))
    count = config.batch * steps
    shown, labels = (torch.from_numpy(part).to(where) for part in pictures(count))
    images = Augmenter(shown, *IMAGENET, PADDING, DTYPES[config.precision])
    step = make_step(kind, config, 10, images, labels)

    def epoch(u: float | None) -> Tensor:
        plan = epoch_plan(count, 0, 1, "crop+flip", PADDING, where)
        losses, _ = step.epoch(plan, np.full(steps, 1e-3), np.full(steps, u))
        return losses.sum()

    return epoch


def ours(config: Classification, steps: int, device: str = "auto", precision: str = "") -> Block:
    """Return one run of rgkit, alone, an epoch of so many steps."""
    take = training(config, steps, device, precision)
    return timed(lambda: take(0.5), config.batch * steps)


def _one_of_many(
    gate: Any, config: Classification, steps: int, device: str, rounds: int
) -> list[float]:
    """Train in step with the other processes; return the speed of each round."""
    block, speeds = ours(config, steps, device), []
    for _ in range(rounds):
        gate.wait()
        speeds.append(block())
    return speeds


def in_processes(
    config: Classification, steps: int, jobs: int, device: str, rounds: int
) -> list[float]:
    """Return images per second of several processes together, one value a round."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context)
    with context.Manager() as manager, pool:
        work = manager.Barrier(jobs), config, steps, device, rounds
        futures = [pool.submit(_one_of_many, *work) for _ in range(jobs)]
        speeds = np.array([future.result() for future in futures])
    return [jobs * float(slowest) for slowest in speeds.min(0)]


def matrix_rate(device: str = "auto") -> float:
    """Return the bfloat16 matrix rate of one run's share of the device, in FLOP/s, measured."""
    where = pick_device(device)
    size = 8192 if where.type == "cuda" else 2048
    a = torch.ones(size, size, dtype=torch.bfloat16, device=where)
    product = timed(lambda: (a @ a)[0, 0], 2 * size**3)
    return max(product() for _ in range(10))
