"""Paired timing of a training step with and without the random loss weight (`rg-cost`)."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from rgkit.chapters.step_timing import StepTiming
from rgkit.method.laws import stream
from rgkit.models.classification import build
from rgkit.models.layout import channels_last
from rgkit.train.device import DTYPES, arithmetic, pick_device, reproducible
from rgkit.train.loop import Outcome
from rgkit.train.step import backward, classify

# Every pair holds a second plain block: plain against plain shows what the clock alone makes up.
BLOCKS = ("plain", "rg", "plain_again")


def _block(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    weights: list[float] | None,
    steps: int,
    autocast: bool,
) -> float:
    """Train `steps` steps and return milliseconds per step."""
    if images.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    for step in range(steps):
        loss, _ = classify(net, images, labels, autocast)
        optimizer.zero_grad(set_to_none=True)
        backward(loss, weights[step] if weights else None)
        optimizer.step()
    if images.is_cuda:
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start) / steps


def measure(config: StepTiming, device: str = "auto") -> Outcome:
    """Time interleaved blocks of plain and RG steps on one network and one batch.

    Returns
    -------
    Outcome whose ``epochs`` hold milliseconds per step, a value a pair, under `BLOCKS`

    Examples
    --------
    >>> tiny = StepTiming(model="resnet8(2)", size=8, batch=4, pairs=2, steps=1)
    >>> sorted(measure(tiny, "cpu").epochs)
    ['plain', 'plain_again', 'rg']
    """
    where, dtype = pick_device(device), DTYPES[config.precision]
    autocast = arithmetic(config, where) == "bfloat16"
    draws = stream(config.seed, "noise")
    shape = (config.batch, 3, config.size, config.size)
    images = torch.from_numpy(draws.standard_normal(shape)).to(where, dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(draws.integers(0, 10, config.batch)).to(where)
    outcome = Outcome(epochs={name: [] for name in BLOCKS})
    with reproducible(config.seed):
        net = channels_last(build(config.model, seed=config.seed), where, dtype)
        net.train()
        optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.5, weight_decay=1e-4)
        for pair in range(-1, config.pairs):  # pair -1 warms up and is not kept
            turn = pair % len(BLOCKS)
            for name in BLOCKS[turn:] + BLOCKS[:turn]:
                weights = draws.random(config.steps).tolist() if name == "rg" else None
                ms = _block(net, optimizer, images, labels, weights, config.steps, autocast)
                if pair >= 0:
                    outcome.epochs[name].append(ms)
    return outcome
