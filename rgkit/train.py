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
from rgkit.metrics import METRICS, epoch_totals, evaluate, weight_norm
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


@functools.lru_cache(maxsize=2)
def _on_device(
    name: str, count: int, precision: str, where: torch.device
) -> tuple[Augmenter, Tensor, Augmenter, Tensor, int]:
    """The training and the test split on a device, kept there for the next run of the same data."""
    found, dtype = datasets.load(name), DTYPES[precision]
    if count > len(found.train_labels):
        total = len(found.train_labels)
        raise ValueError(f"images={count} given; {name} has {total:,} to train on")
    last = count or None
    sides: list[Any] = []
    for images, labels in (
        (found.train_images[:last], found.train_labels[:last]),
        (found.test_images, found.test_labels),
    ):
        pixels = torch.from_numpy(images).to(where)
        sides.append(Augmenter(pixels, found.mean, found.std, found.padding, dtype))
        sides.append(torch.from_numpy(labels).to(where))
    return (*sides, found.classes)


class Training:
    """One run, an epoch at a time: `advance` gives the device its work, `collect` waits for it.

    Between the two the device is busy and the caller is free, so that several runs can share a
    GPU; see `rgkit.replicas`.

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
        train_images, train_labels, self.test_images, self.test_labels, classes = _on_device(
            config.data, config.images, config.precision, where
        )
        self.padding, self.count = train_images.padding, len(train_labels)
        self.per_epoch = math.ceil(self.count / config.batch)
        steps = np.arange(self.per_epoch * config.epochs)
        self.lr = config.lr * schedules.schedule(config.schedule).factor(
            steps, steps_per_epoch=self.per_epoch, epochs=config.epochs
        )
        self.u = weights.law(config.weight).draw(
            steps, steps // self.per_epoch, epochs=config.epochs, seed=config.seed
        )
        self.outcome.epochs = {name: [] for name in METRICS}
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
            tested = evaluate(self.step.net, self.test_images, self.test_labels, autocast)
            after = torch.stack([*tested, weight_norm(self.step.net)])
            self._measured = torch.cat([epoch_totals(losses, correct, sizes), after])

    def collect(self) -> None:
        """Wait for the epoch that `advance` began and take over what it measured."""
        loss, accuracy, bad, *after = self._measured.tolist()  # the epoch's only transfer
        if bad >= 0:
            self.outcome.status = "diverged"
            self.outcome.diverged_at = self.epoch * self.per_epoch + int(bad)
            return
        lr, u = self.lr[self._now()], self.u[self._now()]
        values = (loss, accuracy, *after, float(lr[-1]), float(u.mean()), float(u.std()))
        for name, value in zip(METRICS, values, strict=True):
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
