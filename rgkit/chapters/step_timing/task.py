"""Paired timing of a training step with and without the random loss weight (`rg-cost`)."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from rgkit.chapters.step_timing import StepTiming
from rgkit.data.compat import channels_last
from rgkit.method.laws import stream
from rgkit.models.classification import build
from rgkit.train.device import DTYPES, arithmetic, pick_device, reproducible
from rgkit.train.loop import Outcome
from rgkit.train.step import backward, classify

# Every pair holds a second plain block: plain against plain shows what the clock alone makes up.
BLOCKS = ("plain", "rg", "plain_again")


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

    def now() -> float:
        if where.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def block(weights: Sequence[float | None]) -> float:
        """Train a step for each weight and return milliseconds per step."""
        start = now()
        for weight in weights:
            loss, _ = classify(net, images, labels, autocast)
            optimizer.zero_grad(set_to_none=True)
            backward(loss, weight)
            optimizer.step()
        return 1000 * (now() - start) / len(weights)

    with reproducible(config.seed):
        net = channels_last(build(config.model, seed=config.seed), where, dtype)
        net.train()
        optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.5, weight_decay=1e-4)
        for pair in range(-1, config.pairs):  # pair -1 warms up and is not kept
            turn = pair % len(BLOCKS)
            for name in BLOCKS[turn:] + BLOCKS[:turn]:
                random = name == "rg"
                ms = block(draws.random(config.steps).tolist() if random else [None] * config.steps)
                if pair >= 0:
                    outcome.epochs[name].append(ms)
    return outcome
