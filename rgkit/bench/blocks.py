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
from PIL import Image
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.functional import cross_entropy

from rgkit.data.augment import Augmenter, Masks, epoch_plan
from rgkit.data.scenes import VOID
from rgkit.data.source import IMAGENET
from rgkit.data.vision import import_torchvision
from rgkit.models import classification, segmentation
from rgkit.runs.config import Classification, Segmentation
from rgkit.stats.differences import difference
from rgkit.tasks.classification import make_step
from rgkit.tasks.segmentation import AUXILIARY, label_pixels
from rgkit.train.device import DTYPES, arithmetic, cores, pick_device, reproducible
from rgkit.train.loop import Stepper
from rgkit.train.step import PlainStep, backward

import_torchvision()
from torchvision.transforms import functional as TF  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

Name = TypeVar("Name")
Block = Callable[[], float]  # takes some steps and returns images per second
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
        image, mirrored = Image.fromarray(self.pixels[at]), torch.rand(()) < 0.5
        image = self.crop(image) if self.crop else image
        image = TF.hflip(image) if mirrored else image
        look = TF.normalize(TF.to_tensor(image), *IMAGENET)
        if self.labels.ndim == 1:
            return look, int(self.labels[at])
        mask = Image.fromarray(self.labels[at])
        return look, torch.from_numpy(np.array(TF.hflip(mask) if mirrored else mask))


def timed(epoch: Callable[[], Tensor], images: int, threads: int = 1) -> Block:
    """Return a block of one `epoch`, which trains on so many images and returns a number.

    One that may have to compile is not timed: it comes before.
    """

    def block() -> float:
        with reproducible(0):
            torch.set_num_threads(threads)
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


def paper_style(config: Case, steps: int, device: str = "auto") -> Block:
    """Return the loop that users of the papers' code run: the yardstick.

    A DataLoader with two workers and transforms image by image, float32, contiguous memory,
    `.item()` at each step, all cores. The workers' start and the first batch are not timed.
    """
    where = pick_device(device)
    net = network(config).to(where)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.5, weight_decay=1e-4)
    images = OneByOne(config, config.batch * (steps + 1))

    def block() -> float:
        loader = torch.utils.data.DataLoader(images, config.batch, shuffle=True, num_workers=2)
        threads, start, total = torch.get_num_threads(), 0.0, 0.0
        torch.set_num_threads(cores())
        try:
            for number, (x, y) in enumerate(loader):
                loss = loss_of(net(x.to(where)), y.to(where))
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


class _Contiguous(Augmenter):
    """Batches in the memory format that PyTorch has by default."""

    def batch(self, *plan: Tensor) -> Tensor:
        return super().batch(*plan).contiguous()


def ours(
    config: Case, steps: int, device: str = "auto", *,
    kind: str = "auto", precision: str = "", threads: int = 1, channels_last: bool = True,
) -> Block:  # fmt: skip
    """Return one run of rgkit, alone, an epoch of so many steps with its own step.

    The precision is by default what the machine chooses.
    """
    where = pick_device(device)
    config = config.replace(precision=precision or arithmetic(config, where))
    count, move = config.batch * steps, padding(config)
    shown, labels = (torch.from_numpy(part).to(where) for part in pictures(config, count))
    look = Augmenter if channels_last else _Contiguous
    images = look(shown, *IMAGENET, move, DTYPES[config.precision])
    step: Stepper
    if isinstance(config, Segmentation):
        step = PlainStep(config, network(config), images, Masks(labels, 0), label_pixels)
    else:
        step = make_step(kind, config, 10, images, labels)
    if not channels_last:
        step.net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def epoch() -> Tensor:
        plan = epoch_plan(count, 0, 1, "crop+flip" if move else "flip", move, where)
        losses, _ = step.epoch(plan, np.full(steps, 1e-3), np.full(steps, 0.5))
        return losses.sum()

    return timed(epoch, count, threads)


def by_hand(config: Case, device: str, precision: str = "") -> Callable[[int, bool], Tensor]:
    """Return steps in plain PyTorch on one batch that lies ready: so many, with Random Gradient."""
    where = pick_device(device)
    precision = precision or arithmetic(config, where)
    net = network(config).to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    x, y = (torch.from_numpy(part).to(where) for part in pictures(config, config.batch))
    x = (x / 255).contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.5, weight_decay=1e-4)

    def take(steps: int, random: bool = False) -> Tensor:
        for u in np.random.default_rng(0).random(steps).tolist():
            with torch.autocast(where.type, torch.bfloat16, enabled=precision == "bfloat16"):
                loss = loss_of(net(x), y)
            optimizer.zero_grad()
            backward(loss, u if random else None)
            optimizer.step()
        return loss.detach()

    return take


def plain(config: Case, device: str, precision: str) -> Block:
    """Return two seconds of `by_hand`: what can be had."""
    take = by_hand(config, device, precision)
    steps = max(1, round(2 * timed(lambda: take(1, False), 1)()))
    return timed(lambda: take(steps, False), steps * config.batch)


def _one_of_many(gate: Any, config: Case, steps: int, device: str, rounds: int) -> list[float]:
    """Train in step with the other processes; return the speed of each round."""
    block, speeds = ours(config, steps, device), []
    for _ in range(rounds):
        gate.wait()
        speeds.append(block())
    return speeds


def in_processes(config: Case, steps: int, jobs: int, device: str, rounds: int) -> list[float]:
    """Return images per second of several processes together, one value a round."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context)
    with context.Manager() as manager, pool:
        work = manager.Barrier(jobs), config, steps, device, rounds
        futures = [pool.submit(_one_of_many, *work) for _ in range(jobs)]
        speeds = np.array([future.result() for future in futures])
    return [jobs * float(slowest) for slowest in speeds.min(0)]


def stacked(config: Case, steps: int, jobs: int, device: str = "auto") -> Block:
    """Return several networks as one, their weights stacked, by torch.func.vmap.

    All in bfloat16, without momentum and augmentation: the most favourable case.
    """
    where = pick_device(device)
    nets = [network(config).to(where, torch.bfloat16) for _ in range(jobs)]
    params, buffers = stack_module_state(nets)
    skeleton: nn.Module = network(config).to("meta", torch.bfloat16)
    parts = (torch.from_numpy(p).to(where) for p in pictures(config, config.batch * jobs))
    x, y = (part.unflatten(0, (jobs, config.batch)) for part in parts)
    x = (x / 255).bfloat16()

    def loss(p: Any, b: Any, x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(functional_call(skeleton, (p, b), (x,)).float(), y)

    gradients = vmap(grad(loss))

    def epoch() -> Tensor:
        for _ in range(steps):
            found = gradients(params, buffers, x, y)
            with torch.no_grad():
                torch._foreach_add_(list(params.values()), list(found.values()), alpha=-1e-3)
        total: Tensor = next(iter(params.values())).detach().sum()
        return total

    return timed(epoch, config.batch * steps * jobs)


def matrix_rate(device: str = "auto") -> float:
    """Return the bfloat16 matrix rate of one run's share of the device, in FLOP/s, measured."""
    where = pick_device(device)
    size = 8192 if where.type == "cuda" else 2048
    a = torch.ones(size, size, dtype=torch.bfloat16, device=where)
    product = timed(lambda: (a @ a)[0, 0], 2 * size**3)
    return max(product() for _ in range(10))
