"""Blocks of training steps that return images per second: the yardstick, ours, several at once."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rgkit.bench.pictures import Case, OneByOne, loss_of, network, padding, pictures
from rgkit.data.augment import Augmenter, Masks, epoch_plan
from rgkit.data.source import IMAGENET
from rgkit.runs.kinds import Segmentation
from rgkit.stats.differences import difference
from rgkit.tasks.classification import make_step
from rgkit.tasks.segmentation import label_pixels
from rgkit.train.device import DTYPES, arithmetic, cores, pick_device, reproducible
from rgkit.train.loop import Stepper
from rgkit.train.step import PlainStep, backward

Block = Callable[[], float]  # takes some steps and returns images per second


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


def interleaved(blocks: Mapping[str, Block], rounds: int) -> dict[str, list[float]]:
    """Run the blocks in turn, so that a slow minute of the machine slows all of them."""
    found: dict[str, list[float]] = {name: [] for name in blocks}
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
    where, net = pick_device(device), network(config)
    net = net.to(where)
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
    config: Case,
    steps: int,
    device: str = "auto",
    *,
    kind: str = "auto",
    precision: str = "",
    threads: int = 1,
    channels_last: bool = True,
) -> Block:
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
    from torch.func import functional_call, grad, stack_module_state, vmap

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
