"""One training run, an epoch at a time. The step itself is in `rgkit.train.step`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from rgkit.data.augment import epoch_plan
from rgkit.method import laws, schedules
from rgkit.runs.kinds import Trained
from rgkit.tasks.metrics import epoch_totals, names, weight_norm
from rgkit.tasks.samples import stops
from rgkit.tasks.task import TASKS
from rgkit.train.device import arithmetic, pick_device, reproducible


@dataclass
class Outcome:
    """What a training run measured.

    ``status`` is "finished" or "diverged"; then ``diverged_at`` is the first step whose loss was
    not finite. ``epochs`` has a list per metric, a value for each epoch that was completed;
    ``samples`` is what the task keeps of a few test pictures at the end, see `rgkit.tasks.samples`,
    and ``along`` what it keeps of the first of them on the way.
    """

    status: str = "finished"
    diverged_at: int | None = None
    epochs: dict[str, list[float]] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)
    along: list[str] = field(default_factory=list)


class Training:
    """One run, an epoch at a time: `advance` gives the device its work, `collect` waits for it.

    Between the two the device is busy and the caller is free, so that several runs can share a
    GPU; see `rgkit.train.pool`.

    Parameters
    ----------
    config : Trained
    device : str
    step, place : see `rgkit.train.step.make_step`
    used : str
        The arithmetic in which the run was begun; "" for what `rgkit.train.device.arithmetic`
        chooses. It is the precision of ``self.config``.
    """

    def __init__(
        self,
        config: Trained,
        device: str = "auto",
        step: str = "auto",
        place: int = 0,
        used: str = "",
    ) -> None:
        where = pick_device(device)
        config = config.replace(precision=used or arithmetic(config, where))
        self.config, self.where, self.outcome = config, where, Outcome()
        self.task = task = TASKS[config.task]
        train, test, held, classes = task.splits(config, where)
        # What is measured after each epoch, and under which names.
        self.measured = [test, held] if config.validation else [test]
        self.metrics = names(task.measured, bool(config.validation), task.own)
        self.padding, self.count = train[0].padding, len(train[1])
        self.per_epoch = math.ceil(self.count / config.batch)
        # Here, because a copy to a GPU waits for all that its stream was given before.
        batches = torch.arange(self.count).split(config.batch)
        self.sizes = torch.tensor([len(batch) for batch in batches], device=where)
        steps = np.arange(self.per_epoch * config.epochs)
        self.lr = config.lr * schedules.schedule(config.schedule).factor(
            steps, steps_per_epoch=self.per_epoch, epochs=config.epochs, seed=config.seed
        )
        self.u = laws.law(config.weight).draw(
            steps,
            steps // self.per_epoch,
            epochs=config.epochs,
            seed=config.seed,
            per_epoch=self.per_epoch,
        )
        self.outcome.epochs = {name: [] for name in self.metrics}
        self.options = task.options(config, where)
        self.step = task.step(step, config, classes, *train, place)
        self._measured = torch.zeros(0)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.outcome.epochs["train_loss"])

    @property
    def loss(self) -> float | None:
        """The training loss of the last epoch that is done, None before the first."""
        return self.outcome.epochs["train_loss"][-1] if self.epoch else None

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
            autocast = config.precision == "bfloat16"
            more = self.options if self.epoch + 1 == config.epochs else {}
            totals = [epoch_totals(losses, correct, self.sizes), weight_norm(self.step.net)[None]]
            for images, labels in self.measured:
                found = self.task.evaluate(self.step.net, images, labels, autocast, **more)
                totals.append(torch.stack(found))
            totals += [value[None] for value in self.task.steps(self.step)]
            self._measured = torch.cat(totals)

    def collect(self) -> None:
        """Wait for the epoch that `advance` began and take over what it measured."""
        # The epoch's only transfer.
        loss, accuracy, bad, norm, *others = self._measured.tolist()
        if bad >= 0:
            self.outcome.status = "diverged"
            self.outcome.diverged_at = self.epoch * self.per_epoch + int(bad)
            return
        lr, u = self.lr[self._now()], self.u[self._now()]
        count = len(self.task.measured)
        test, held_and_own = others[:count], others[count:]
        said = (norm, float(lr[-1]), float(u.mean()), float(u.std()))
        values = (loss, accuracy, *test, *said, *held_and_own)
        for name, value in zip(self.metrics, values, strict=True):
            self.outcome.epochs[name].append(value)
        if self.over:
            self.outcome.samples = self._samples()
        elif self.task.along and self.epoch in stops(self.config.epochs):
            self.outcome.along += self._samples()[:1]

    def _samples(self) -> list[str]:
        images, labels = self.measured[0]
        autocast = self.config.precision == "bfloat16"
        return self.task.samples(self.step.net, images, labels, autocast)

    def state(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on, for a checkpoint."""
        done = {"epochs": self.outcome.epochs, "along": self.outcome.along}
        way = {"step": self.step.name, "arithmetic": self.config.precision}
        return way | done | self.step.state()

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state` returned; ValueError where it fits another step."""
        if state["step"] != self.step.name:
            raise ValueError(f"made by the step {state['step']!r}, this is {self.step.name!r}")
        self.step.load(state)
        # Of a checkpoint from before a metric was added, its earlier epochs lack it.
        known, missing = state["epochs"], [math.nan] * len(state["epochs"]["train_loss"])
        self.outcome.epochs = {name: known.get(name, missing[:]) for name in self.metrics}
        self.outcome.along = list(state.get("along", []))


def train(
    config: Trained,
    device: str = "auto",
    on_epoch: Callable[[int], None] = lambda epoch: None,
    step: str = "auto",
) -> Outcome:
    """Train one run from start to end.

    Parameters
    ----------
    config : Trained
    device : str
    on_epoch : called with the number of epochs done, for progress
    step : "auto", "plain", "captured" or "compiled", see `rgkit.train.step.make_step`

    Returns
    -------
    Outcome; on a CPU the same config gives the same numbers bit for bit on the same machine

    Examples
    --------
    >>> from rgkit.runs.kinds import Classification
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
