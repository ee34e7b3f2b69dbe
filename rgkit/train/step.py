"""One step of training: the place where the loss is multiplied by u."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rgkit.data.augment import Augmenter, Boxes, Masks, Plan
from rgkit.method.spec import nearest
from rgkit.models.calibrated import calibrate_after
from rgkit.models.layout import channels_last
from rgkit.runs.kinds import STEPS, Classification, Trained
from rgkit.train.device import DTYPES
from rgkit.train.recipe import Lookahead, fresh, groups

# From a network, images and labels to the unweighted loss and how many of the images are right.
Losses = Callable[[nn.Module, Tensor, Tensor, bool], tuple[Tensor, Tensor]]


def make_optimizer(config: Trained, net: nn.Module) -> torch.optim.Optimizer:
    """Return SGD or Adam with weight decay coupled to the gradient, as the papers' code has it.

    A group of parameters says by ``scale`` how its learning rate differs from that of the config.
    """
    bias_rate = config.bias_rate if isinstance(config, Classification) else 1.0
    decay = config.coefficient
    parameters = [
        {"params": g.params, "scale": g.scale, "left": g.epochs, "weight_decay": decay / g.scale}
        for g in groups(net, bias_rate)
    ]
    found: torch.optim.Optimizer
    if config.optimizer == "adam":
        found = torch.optim.Adam(parameters, config.lr, betas=(config.momentum, config.beta2))
    else:
        found = torch.optim.SGD(
            parameters, config.lr, momentum=config.momentum, nesterov=config.nesterov
        )
    calibrate_after(found, net)
    return found


def classify(
    net: nn.Module, images: Tensor, labels: Tensor, autocast: bool, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of a batch, its labels smoothed, and how many images are right."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
        logits = net(images)
    loss = cross_entropy(logits.to(images.dtype), labels, label_smoothing=smoothing)
    return loss, (logits.detach().argmax(1) == labels).sum()


def train_epoch(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[tuple[Tensor, Tensor]],
    lr: np.ndarray,
    u: np.ndarray,
    autocast: bool = False,
    losses_of: Losses = classify,
) -> tuple[Tensor, Tensor]:
    """Train over the batches, step t at learning rate lr[t] with loss weight u[t].

    Random Gradient (RG section 4) is the line that multiplies the loss by u: gradients shrink,
    the optimizer's weight decay does not.

    Returns
    -------
    losses [steps] and correct [steps], unweighted, on the device; nothing is read back before
    """
    net.train()
    losses, correct = [], []
    for (images, labels), lr_t, u_t in zip(batches, lr.tolist(), u.tolist(), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = lr_t * group.get("scale", 1.0)  # old checkpoints have none
        loss, right = losses_of(net, images, labels, autocast)
        optimizer.zero_grad(set_to_none=True)
        (u_t * loss).backward()  # the method
        optimizer.step()
        losses.append(loss.detach())
        correct.append(right)
    for group in optimizer.param_groups:
        group["left"] = group.get("left", 0) - 1
        if group["left"] == 0:  # it has learned for as long as it was to
            group["scale"] = 0.0
    return torch.stack(losses), torch.stack(correct)


class Stepper(Protocol):
    """A network and its optimizer, and a way to take an epoch's steps with them."""

    name: str
    net: nn.Module

    def epoch(self, plan: Plan, lr: np.ndarray, u: np.ndarray) -> tuple[Tensor, Tensor]:
        """Train one epoch; return losses and correct [steps], on the device."""

    def state(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state` returned."""


class Kept:
    """The state of a step's parts, which have names: what a checkpoint keeps."""

    parts: dict[str, Any]

    def state(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


class PlainStep(Kept):
    """PyTorch as a user would write it: the reference that every faster way is held against."""

    name = "plain"

    def __init__(
        self,
        config: Trained,
        net: nn.Module,
        images: Augmenter,
        labels: Tensor | Masks | Boxes,
        losses_of: Losses = classify,
    ) -> None:
        self.net = channels_last(net, images.scale.device, DTYPES[config.precision])
        self.optimizer = make_optimizer(config, self.net)
        self.parts = {"net": self.net, "optimizer": self.optimizer}
        if isinstance(config, Classification) and config.lookahead:
            slow = self.parts["lookahead"] = Lookahead(self.net, config.lookahead, config.steps)
            self.optimizer.register_step_post_hook(lambda *_: slow.step())
        self.images, self.labels, self.batch = images, labels, config.batch
        self.autocast, self.losses_of = config.precision == "bfloat16", losses_of

    def epoch(self, plan: Plan, lr: np.ndarray, u: np.ndarray) -> tuple[Tensor, Tensor]:
        """Train one epoch, a batch at a time."""
        parts = zip(*(part.split(self.batch) for part in plan), strict=True)
        batches = ((self.images.batch(*part), self._labels(*part)) for part in parts)
        return train_epoch(self.net, self.optimizer, batches, lr, u, self.autocast, self.losses_of)

    def _labels(self, *part: Tensor) -> Tensor:
        if isinstance(self.labels, Masks | Boxes):
            return self.labels.batch(*part)  # cut and mirrored as their images are
        return self.labels[part[0]]


def make_step(
    kind: str,
    config: Classification,
    classes: int,
    images: Augmenter,
    labels: Tensor,
    place: int = 0,
) -> Stepper:
    """Return the way to take steps, with the fresh weights of the config's seed.

    Parameters
    ----------
    kind : str
        ``plain``, ``captured``, ``compiled`` (captured after torch.compile), or ``auto``: captured
        for SGD on a GPU, plain elsewhere; on a CPU a captured step has nothing to save. GC layers
        take the plain one.
    classes : int
    images, labels : the training split on its device
    place : int
        Runs that share a GPU at the same time each have a place of their own.
    """
    if kind not in STEPS:
        raise ValueError(f"step={kind!r} given{nearest(kind, list(STEPS))}")
    from rgkit.train import captured

    branched = config.network().name == "gc"
    if kind == "auto":
        fast = labels.is_cuda and config.optimizer == "sgd" and not branched
        kind = "captured" if fast else "plain"
    if branched and kind != "plain":
        raise ValueError(f"step={kind!r} given with {config.model}; use 'plain', which updates R")
    if kind == "plain":
        net = fresh(config, classes, images)
        smoothed = partial(classify, smoothing=config.label_smoothing)
        return PlainStep(config, net, images, labels, smoothed)
    return captured.take(kind, config, classes, images, labels, place)
