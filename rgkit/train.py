"""One training run, an epoch at a time. The step itself is in `rgkit.step`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgkit import data as datasets
from rgkit import schedules, weights
from rgkit.config import Classification
from rgkit.data.augment import Augmenter, epoch_plan
from rgkit.device import DTYPES, pick_device, reproducible
from rgkit.metrics import METRICS, VALIDATION, epoch_totals, evaluate, weight_norm
from rgkit.step import make_step


@dataclass
class Outcome:
    """What a training run measured.

    ``status`` is "finished" or "diverged"; then ``diverged_at`` is the first step whose loss was
    not finite. ``epochs`` has a list per metric, a value for each epoch that was completed.
    """

    status: str = "finished"
    diverged_at: int | None = None
    epochs: dict[str, list[float]] = field(default_factory=dict)


Split = tuple[Augmenter, Tensor]


@functools.lru_cache(maxsize=2)
def _on_device(
    name: str, count: int, held: int, precision: str, where: torch.device
) -> tuple[Split, Split, Split, int]:
    """Training, test and validation images on a device, kept there for the next run on them."""
    found, dtype = datasets.load(name), DTYPES[precision]
    total = len(found.train_labels)
    if count + held > total - (count == 0):
        given = f"images={count}" + (f", validation={held}" if held else "")
        raise ValueError(f"{given} given; {name} has {total:,} to train on")
    last = total - held
    splits: list[Split] = []
    for images, labels in (
        (found.train_images[: count or last], found.train_labels[: count or last]),
        (found.test_images, found.test_labels),
        (found.train_images[last:], found.train_labels[last:]),
    ):
        pixels = torch.from_numpy(images).to(where)
        side = Augmenter(pixels, found.mean, found.std, found.padding, dtype)
        splits.append((side, torch.from_numpy(labels).to(where)))
    return splits[0], splits[1], splits[2], found.classes


class Training:
    """One run, an epoch at a time: `advance` gives the device its work, `collect` waits for it.

    Between the two the device is busy and the caller is free, so that several runs can share a
    GPU; see `rgkit.runner`.

    Parameters
    ----------
    config : Classification
    device : str
    step, place : see `rgkit.step.make_step`
    """

    def __init__(
        self, config: Classification, device: str = "auto", step: str = "auto", place: int = 0
    ) -> None:
        where = pick_device(device)
        self.config, self.where, self.outcome = config, where, Outcome()
        (train_images, train_labels), test, held, classes = _on_device(
            config.data, config.images, config.validation, config.precision, where
        )
        # What is measured after each epoch, and under which names.
        self.measured = [test, held] if config.validation else [test]
        self.metrics = METRICS + VALIDATION if config.validation else METRICS
        self.padding, self.count = train_images.padding, len(train_labels)
        self.per_epoch = math.ceil(self.count / config.batch)
        steps = np.arange(self.per_epoch * config.epochs)
        self.lr = config.lr * schedules.schedule(config.schedule).factor(
            steps, steps_per_epoch=self.per_epoch, epochs=config.epochs
        )
        self.u = weights.law(config.weight).draw(
            steps, steps // self.per_epoch, epochs=config.epochs, seed=config.seed
        )
        self.outcome.epochs = {name: [] for name in self.metrics}
        self.step = make_step(step, config, classes, train_images, train_labels, place)
        self._measured = torch.zeros(0)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.outcome.epochs[METRICS[0]])

    @property
    def over(self) -> bool:
        """Whether the last epoch is done or the run has diverged."""
        return self.epoch == self.config.epochs or self.outcome.status == "diverged"

    def _now(self) -> slice:
        return slice(self.epoch * self.per_epoch, (self.epoch + 1) * self.per_epoch)

    def advance(self) -> None:
        """Train and evaluate the next epoch; on a GPU this only queues the work."""
        config, now = self.config, self._now()
        with reproducible(config.seed * 1_000_003 + self.epoch):
            plan = epoch_plan(
                self.count, config.seed, self.epoch, config.augment, self.padding, self.where
            )
            losses, correct = self.step.epoch(plan, self.lr[now], self.u[now])
            sizes = torch.tensor([len(p) for p in plan[0].split(config.batch)], device=self.where)
            autocast = config.precision == "bfloat16"
            totals = [epoch_totals(losses, correct, sizes), weight_norm(self.step.net)[None]]
            for images, labels in self.measured:
                totals.append(torch.stack(evaluate(self.step.net, images, labels, autocast)))
            self._measured = torch.cat(totals)

    def collect(self) -> None:
        """Wait for the epoch that `advance` began and take over what it measured."""
        # The epoch's only transfer.
        loss, accuracy, bad, norm, *test_and_validation = self._measured.tolist()
        if bad >= 0:
            self.outcome.status = "diverged"
            self.outcome.diverged_at = self.epoch * self.per_epoch + int(bad)
            return
        lr, u = self.lr[self._now()], self.u[self._now()]
        test, held = test_and_validation[:2], test_and_validation[2:]
        said = (norm, float(lr[-1]), float(u.mean()), float(u.std()))
        for name, value in zip(self.metrics, (loss, accuracy, *test, *said, *held), strict=True):
            self.outcome.epochs[name].append(value)

    def state(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on, for a checkpoint."""
        return {"step": self.step.name, "epochs": self.outcome.epochs} | self.step.state()

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state` returned; ValueError where it fits another step."""
        if state["step"] != self.step.name:
            raise ValueError(f"made by the step {state['step']!r}, this is {self.step.name!r}")
        self.step.load(state)
        self.outcome.epochs = state["epochs"]


def train(
    config: Classification,
    device: str = "auto",
    on_epoch: Callable[[int], None] = lambda epoch: None,
    step: str = "auto",
) -> Outcome:
    """Train one run from start to end.

    Parameters
    ----------
    config : Classification
    device : str
    on_epoch : called with the number of epochs done, for progress
    step : "auto", "plain", "captured" or "compiled", see `rgkit.step.make_step`

    Returns
    -------
    Outcome; on a CPU the same config gives the same numbers bit for bit on the same machine

    Examples
    --------
    >>> tiny = Classification(data="digits", images=100, model="resnet8(2)", epochs=1)
    >>> outcome = train(tiny, "cpu")
    >>> outcome.status, len(outcome.epochs["test_accuracy"])
    ('finished', 1)
    """
    training = Training(config, device, step)
    while not training.over:
        training.advance()
        training.collect()
        on_epoch(training.epoch)
    return training.outcome
