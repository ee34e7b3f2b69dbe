"""One training run, an epoch at a time, whatever its task. The step is in `rgkit.train.step`."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rgkit.data.augment import Plan, epoch_plan
from rgkit.data.source import Dataset
from rgkit.data.source import Split as Arrays
from rgkit.method import laws, schedules
from rgkit.method.spec import nearest
from rgkit.models.calibrated import optimized
from rgkit.runs.config import STEPS, Trained
from rgkit.train.device import arithmetic, pick_device, reproducible

Split = tuple[Any, Any]  # images, and labels [N], or masks, or the pictures to be made
Splits = tuple[Split, Split, Split, int]  # to train on, to test on, held out; how many classes
# From settings, whose names are those of its parameters, to a data set and what makes a split of
# images and what belongs to them, both on the device.
Load = Callable[..., tuple[Dataset, Callable[[Tensor, Tensor], Split]]]


@functools.lru_cache(maxsize=6)  # for the next runs on them, of whatever task
def on_device(load: Load, where: torch.device, count: int, held: int, *own: Any) -> Splits:
    """Bring pictures and what belongs to them to a device: to train on, to test on, held out.

    Parameters
    ----------
    load : see `Load`
    count, held : of the training pictures the first so many are trained on, 0 is all that are not
        held out; the last so many are held out
    own : the settings for `load`, the name of the set first

    Raises ValueError where there are not so many.
    """
    found, made = load(*own)
    total = len(found.train.images)
    if count + held > total - (count == 0):
        given = f"images={count}" + (f", validation={held}" if held else "")
        raise ValueError(f"{given} given; {own[0]} has {total:,} to train on")

    def part(arrays: Arrays, places: slice) -> Split:
        return made(*(torch.from_numpy(half[places]).to(where) for half in arrays))

    train, test = part(found.train, slice(count or total - held)), part(found.test, slice(None))
    classes = len(found.source.classes)
    return train, test, part(found.train, slice(total - held, total)), classes


def splits(load: Load, config: Trained, where: torch.device) -> Splits:
    """Return the data of a run on its device; runs that differ in other settings share them."""
    own = (getattr(config, name) for name in inspect.signature(load).parameters)
    return on_device(load, where, config.images, config.validation, *own)


class Stepper:
    """A network and its optimizer, and a way to take an epoch's steps with them.

    Attributes
    ----------
    name : of the kind of step
    net : the network
    parts : what the next epoch depends on, each with a `state_dict`, the network among them
    own : what the task records of the steps of an epoch, float64 tensors of shape []
    """

    name: str
    net: nn.Module
    parts: dict[str, Any]
    own: tuple[Tensor, ...] = ()

    def epoch(
        self, plan: Plan, lr: np.ndarray, u: np.ndarray, number: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Train one epoch, step t at learning rate lr[t] with loss weight u[t].

        Parameters
        ----------
        number : of the epoch in its run, from 0

        Returns
        -------
        losses [steps], unweighted, and correct [steps], on the device; nothing is read back before
        """
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state` returned, in place."""
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


@dataclass(frozen=True)
class Task:
    """What tells one kind of training from another.

    Attributes
    ----------
    measured : names of what `evaluate` returns
    splits : from a config and a device to the data
    step : from a kind of step, a config, the number of classes and a split to the way to take steps
    evaluate : from a network, a split and whether to autocast to float64 tensors of shape []
    kinds : the kinds of steps that there are
    own : names of what the stepper has as its `own` after an epoch
    samples : like `evaluate`, at the end of a run, to texts that the record keeps
    along : from a number of epochs to those after which the first of them is kept, too
    options : from a config and a device to what else `evaluate` is given after the last epoch, for
        what would cost too much after each
    """

    measured: tuple[str, ...]
    splits: Callable[[Any, torch.device], Splits]
    step: Callable[..., Stepper]
    evaluate: Callable[..., tuple[Tensor, ...]]
    kinds: tuple[str, ...] = ("auto", "plain")
    own: tuple[str, ...] = ()
    samples: Callable[..., list[str]] = lambda net, images, labels, autocast: []
    along: Callable[[int], Sequence[int]] = lambda epochs: ()
    options: Callable[[Any, torch.device], dict[str, Any]] = lambda config, where: {}


@dataclass
class Outcome:
    """What a training run measured.

    ``status`` is "finished" or "diverged"; then ``diverged_at`` is the first step whose loss was
    not finite. ``epochs`` has a list per metric, a value for each epoch that was completed;
    ``samples`` is what the task keeps of a few test pictures at the end, see `rgkit.runs.records`,
    and ``along`` what it keeps of the first of them on the way.
    """

    status: str = "finished"
    diverged_at: int | None = None
    epochs: dict[str, list[float]] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)
    along: list[str] = field(default_factory=list)


@torch.inference_mode()
def weight_norm(net: nn.Module) -> Tensor:
    """Return the Euclidean norm of all weights with two or more axes (not biases, not scales).

    >>> weight_norm(nn.Linear(3, 2)).shape
    torch.Size([])
    """
    squares = [p.square().sum().double() for p in optimized(net) if p.ndim > 1]
    return torch.stack(squares).sum().sqrt()


@torch.inference_mode()
def epoch_totals(losses: Tensor, correct: Tensor, sizes: Tensor) -> Tensor:
    """Return the mean loss, the accuracy in percent and the first step that was not finite.

    Parameters
    ----------
    losses, correct, sizes : [steps]
        Of each batch: the mean loss, the number of images predicted right, and of all images.

    Returns
    -------
    float64 tensor [3]; the step is -1 where all losses are finite

    >>> totals = epoch_totals(torch.tensor([1.0, 3.0]), torch.tensor([1, 1]), torch.tensor([3, 1]))
    >>> totals.tolist()
    [1.5, 50.0, -1.0]
    """
    bad = ~losses.isfinite()
    first = torch.where(bad.any(), bad.int().argmax(), -1)
    count = sizes.sum().double()
    loss = (losses * sizes).sum().double() / count
    return torch.stack([loss, 100 * correct.sum().double() / count, first.double()])


class Training:
    """One run, an epoch at a time.

    Parameters
    ----------
    config : Trained
    device : str
    step : "auto", "plain", or another kind that the task has, see `rgkit.tasks.classification`
    used : str
        The arithmetic in which the run was begun; "" for what `rgkit.train.device.arithmetic`
        chooses. It is the precision of ``self.config``.
    """

    def __init__(
        self, config: Trained, device: str = "auto", step: str = "auto", used: str = ""
    ) -> None:
        where = pick_device(device)
        config = config.replace(precision=used or arithmetic(config, where))
        self.config, self.where, self.outcome = config, where, Outcome()
        self.autocast = config.precision == "bfloat16"
        self.task: Task = import_module(config.code).TASK
        if step not in self.task.kinds:
            hint = f" with {config.task}; use 'plain'" if step in STEPS else nearest(step, [*STEPS])
            raise ValueError(f"step={step!r} given{hint}")
        train, test, held, classes = self.task.splits(config, where)
        # What is measured after each epoch. Its names begin with these.
        self.measured = {"test": test} | ({"validation": held} if config.validation else {})
        self.padding, self.count = train[0].padding, len(train[0])
        self.per_epoch = math.ceil(self.count / config.batch)
        # Here, because a copy to a GPU waits for all that its stream was given before.
        batches = torch.arange(self.count).split(config.batch)
        self.sizes = torch.tensor([len(batch) for batch in batches], device=where)
        steps = np.arange(self.per_epoch * config.epochs)
        run = {"per_epoch": self.per_epoch, "epochs": config.epochs, "seed": config.seed}
        self.lr = config.lr * schedules.schedule(config.schedule).draw(steps, **run)
        self.u = laws.law(config.weight).draw(steps, **run)
        self.outcome.epochs = {name: [] for name in self.metrics}
        self.options = self.task.options(config, where)
        self.step = self.task.step(step, config, classes, *train)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what is recorded of an epoch, in the order of the record."""
        test, *held = [[f"{s}_{name}" for name in self.task.measured] for s in self.measured]
        return (
            "train_loss", "train_accuracy",  # unweighted, of the images as they were trained on
            *test,
            "weight_norm",
            "lr",  # at the epoch's last step
            "u_mean", "u_std",
            *(name for names in held for name in names),
            *self.task.own,
        )  # fmt: skip

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

    def advance(self) -> None:
        """Train and evaluate the next epoch."""
        config, epoch = self.config, self.epoch
        now = slice(epoch * self.per_epoch, (epoch + 1) * self.per_epoch)
        lr, u = self.lr[now], self.u[now]
        with reproducible(config.seed * 1_000_003 + epoch):
            own = config.seed, epoch, config.augment
            plan = epoch_plan(self.count, *own, self.padding, self.where)
            losses, correct = self.step.epoch(plan, lr, u, epoch)
            totals, norm = epoch_totals(losses, correct, self.sizes), weight_norm(self.step.net)
            more = self.options if epoch + 1 == config.epochs else {}
            found = [norm]
            for split in self.measured.values():
                found += self.task.evaluate(self.step.net, *split, self.autocast, **more)
            found += self.step.own
            # The epoch's only transfer.
            loss, accuracy, bad, *rest = torch.cat([totals, torch.stack(found)]).tolist()
        if bad >= 0:
            self.outcome.status = "diverged"
            self.outcome.diverged_at = now.start + int(bad)
            return
        count = len(self.task.measured) + 1
        weights = (rest[0], float(lr[-1]), float(u.mean()), float(u.std()))
        values = (loss, accuracy, *rest[1:count], *weights, *rest[count:])
        for name, value in zip(self.metrics, values, strict=True):
            self.outcome.epochs[name].append(value)
        if self.over:
            self.outcome.samples = self._samples()
        elif self.epoch in self.task.along(config.epochs):
            self.outcome.along += self._samples()[:1]

    def _samples(self) -> list[str]:
        return self.task.samples(self.step.net, *self.measured["test"], self.autocast)

    def state(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on, for a checkpoint."""
        done = {"epochs": self.outcome.epochs, "along": self.outcome.along}
        way = {"step": self.step.name, "arithmetic": self.config.precision}
        return {**way, **done, **self.step.state()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state` returned; ValueError where it fits another step."""
        if state["step"] != self.step.name:
            raise ValueError(f"made by the step {state['step']!r}, this is {self.step.name!r}")
        self.step.load(state)
        self.outcome.epochs, self.outcome.along = state["epochs"], state["along"]


def train(config: Trained, device: str = "auto", step: str = "auto") -> Outcome:
    """Train one run from start to end.

    Parameters
    ----------
    config, device, step : see `Training`

    Returns
    -------
    Outcome; on a CPU the same config gives the same numbers bit for bit on the same machine

    Examples
    --------
    >>> from rgkit.runs.config import Classification
    >>> tiny = Classification(data="digits", images=100, model="resnet8(2)", epochs=1)
    >>> outcome = train(tiny, "cpu")
    >>> outcome.status, len(outcome.epochs["test_accuracy"])
    ('finished', 1)
    """
    training = Training(config, device, step)
    while not training.over:
        training.advance()
    return training.outcome
