"""Blocks of training steps that return images per second: one run, and several at once."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rgkit.bench.paper_style import BATCH, MEAN, PADDING, STD, Block, pixels
from rgkit.data.augment import Augmenter, epoch_plan
from rgkit.models.classification import build
from rgkit.runs.kinds import Classification
from rgkit.tasks.classification import make_step
from rgkit.train.device import DTYPES, arithmetic, pick_device, reproducible
from rgkit.train.processes import end_with_parent


class _Contiguous(Augmenter):
    """Batches in the memory format that PyTorch has by default."""

    def batch(self, *plan: Tensor) -> Tensor:
        return super().batch(*plan).contiguous()


def make_ours(
    model: str,
    steps: int,
    device: str = "auto",
    kind: str = "auto",
    place: int = 0,
    channels_last: bool = True,
    **changes: Any,
) -> Callable[[int], Tensor]:
    """Return a function that trains one epoch of `steps` batches with rgkit's own step."""
    where, config = pick_device(device), Classification(model=model, **changes)
    if "precision" not in changes:
        config = config.replace(precision=arithmetic(config, where))
    shown, labels = (torch.from_numpy(part) for part in pixels(BATCH * steps))
    look = Augmenter if channels_last else _Contiguous
    images = look(shown.to(where), MEAN, STD, PADDING, DTYPES[config.precision])
    step = make_step(kind, config, 10, images, labels.to(where))
    if not channels_last:
        step.net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def epoch(number: int) -> Tensor:
        plan = epoch_plan(BATCH * steps, 0, number, "crop+flip", PADDING, where)
        losses, _ = step.epoch(plan, np.full(steps, 1e-3), np.full(steps, 0.5))
        return losses.sum()

    return epoch


def ours(
    model: str,
    steps: int,
    device: str = "auto",
    kind: str = "auto",
    threads: int = 1,
    **changes: Any,
) -> Block:
    """Return one run of rgkit, alone; the first epoch, which may compile, is not timed."""
    epoch = make_ours(model, steps, device, kind, **changes)
    epoch(0).item()
    return alone(epoch, BATCH * steps, threads)


def alone(epoch: Callable[[int], Tensor], images: int, threads: int = 1) -> Block:
    """Return a block of one epoch, which trains on so many images."""

    def block() -> float:
        with reproducible(0):
            torch.set_num_threads(threads)
            start = time.perf_counter()
            epoch(1).item()
            return images / (time.perf_counter() - start)

    return block


def plain(model: str, device: str, precision: str) -> Block:
    """Return the step written out in plain PyTorch, on a batch that is there: what can be had."""
    x, y = torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))
    return by_hand(build(model), x, y, cross_entropy, device, precision)


def by_hand(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    loss_of: Callable[[Any, Tensor], Tensor],
    device: str,
    precision: str,
) -> Block:
    """Return two seconds of steps on one batch; the first two steps are not among them."""
    where = pick_device(device)
    net = net.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    x, y = x.to(where, memory_format=torch.channels_last), y.to(where)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.5, weight_decay=1e-4)

    def epoch(steps: int) -> Tensor:
        for _ in range(steps):
            with torch.autocast(where.type, torch.bfloat16, enabled=precision == "bfloat16"):
                found = net(x)
                loss = loss_of(found, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.detach()

    alone(epoch, len(x))()
    steps = max(1, round(2 * alone(epoch, len(x))() / len(x)))
    return alone(lambda number: epoch(steps), len(x) * steps)


def in_streams(model: str, steps: int, jobs: int, device: str = "auto") -> Block:
    """Return several runs in one process, a stream each on a GPU, an epoch in turn."""
    where = pick_device(device)
    gpu = where.type == "cuda"
    epochs = [make_ours(model, steps, device, place=place) for place in range(jobs)]
    streams = [torch.cuda.Stream() if gpu else None for _ in epochs]

    def turn() -> float:
        start, waiting = time.perf_counter(), []
        for epoch, stream in zip(epochs, streams, strict=True):
            with torch.cuda.stream(stream):
                waiting.append(epoch(1))
        for losses in waiting:
            losses.item()
        return BATCH * steps * jobs / (time.perf_counter() - start)

    with reproducible(0):
        turn()

    def block() -> float:
        with reproducible(0):
            return turn()

    return block


_gate: Any = None


def _join(gate: Any) -> None:
    global _gate
    _gate = gate
    end_with_parent()
    torch.set_num_threads(1)


def _one_of_many(model: str, steps: int, device: str, rounds: int) -> list[float]:
    """Train in step with the other processes; return the seconds of each round."""
    epoch = make_ours(model, steps, device)
    epoch(0).item()
    seconds = []
    for _ in range(rounds):
        _gate.wait()
        start = time.perf_counter()
        epoch(1).item()
        seconds.append(time.perf_counter() - start)
    return seconds


def in_processes(model: str, steps: int, jobs: int, device: str, rounds: int) -> list[float]:
    """Return images per second of several processes together, one value a round."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _join, (context.Barrier(jobs),)) as pool:
        futures = [pool.submit(_one_of_many, model, steps, device, rounds) for _ in range(jobs)]
        seconds = np.array([future.result() for future in futures])
    return [BATCH * steps * jobs / float(slowest) for slowest in seconds.max(0)]


def stacked(model: str, steps: int, jobs: int, device: str = "auto") -> Block:
    """Return several networks as one, their weights stacked, by torch.func.vmap.

    All in bfloat16, without momentum and augmentation: the most favourable case.
    """
    from torch.func import functional_call, grad, stack_module_state, vmap

    where = pick_device(device)
    nets = [build(model, seed=seed).to(where, torch.bfloat16) for seed in range(jobs)]
    params, buffers = stack_module_state(nets)
    skeleton: nn.Module = build(model).to("meta", torch.bfloat16)
    shown, labels = (torch.from_numpy(p).to(where) for p in pixels(BATCH * jobs))
    images = Augmenter(shown, MEAN, STD, PADDING)
    x = images.plain(torch.arange(len(labels), device=where)).bfloat16()
    x, y = x.unflatten(0, (jobs, BATCH)), labels.unflatten(0, (jobs, BATCH))

    def loss(p: Any, b: Any, x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(functional_call(skeleton, (p, b), (x,)).float(), y)

    gradients = vmap(grad(loss))

    def block() -> float:
        with reproducible(0):
            start = time.perf_counter()
            for _ in range(steps):
                found = gradients(params, buffers, x, y)
                with torch.no_grad():
                    torch._foreach_add_(list(params.values()), list(found.values()), alpha=-1e-3)
            next(iter(params.values())).detach().sum().item()
            return BATCH * steps * jobs / (time.perf_counter() - start)

    block()
    return block


def matrix_rate(device: str = "auto", size: int = 2048, seconds: float = 1.0) -> float:
    """Return the bfloat16 matrix rate of one run's share of the device, in FLOP/s, measured."""
    where = pick_device(device)
    size = 8192 if where.type == "cuda" else size
    a = torch.ones(size, size, dtype=torch.bfloat16, device=where)
    best = 0.0
    with reproducible(0):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            for _ in range(4):
                product = a @ a
            float(product[0, 0])
            best = max(best, 4 * 2 * size**3 / (time.perf_counter() - start))
    return best


def training_flops(model: str) -> float:
    """Return the floating-point operations of one training step on one image: three passes.

    >>> 3e7 < training_flops("resnet8(16)") < 2e8
    True
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        build(model).eval()(torch.zeros(1, 3, 32, 32))
    return 3.0 * float(counter.get_total_flops())


def interleaved(blocks: dict[str, Block], rounds: int) -> dict[str, list[float]]:
    """Run the blocks in turn, so that a slow minute of the machine slows all of them."""
    found: dict[str, list[float]] = {name: [] for name in blocks}
    names: Sequence[str] = list(blocks)
    for number in range(rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            found[name].append(blocks[name]())
    return found
