"""One step of training: the place where the loss is multiplied by u."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rgkit.data.augment import Crops, Plan
from rgkit.models.calibrated import calibrate_after
from rgkit.models.layout import channels_last
from rgkit.runs.kinds import Classification, Trained
from rgkit.train.device import DTYPES
from rgkit.train.recipe import Lookahead, groups

# From a network, images and labels to the unweighted loss and how many of the images are right.
Losses = Callable[[nn.Module, Tensor, Tensor, bool], tuple[Tensor, Tensor]]


def backward(loss: Tensor, u: float | None) -> None:
    """Add the gradients of u times a loss: Random Gradient (RG section 4), and Loss Decay.

    Gradients shrink with u; the weight decay, which the optimizer adds, does not. None is plain
    training, where nothing is multiplied: what a step costs is measured against it.
    """
    (loss if u is None else u * loss).backward()


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, u: float) -> None:
    """Take one step of an optimizer on u times a loss."""
    optimizer.zero_grad(set_to_none=True)
    backward(loss, u)
    optimizer.step()


def forward(net: Callable[[Tensor], Any], images: Tensor, autocast: bool) -> Any:
    """Return what a network makes of images, with `autocast` in bfloat16."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
        return net(images)


def predictions(
    net: nn.Module,
    images: Crops,
    autocast: bool,
    batch: int,
    see: Callable[[Tensor], Any] | None = None,
) -> Iterator[tuple[Tensor, Tensor, Any]]:
    """Yield the numbers of a batch's images, the images, and what a network makes of them.

    Parameters
    ----------
    net : it is left in evaluation mode
    images : the split, as it is, without crops and mirrors
    batch : how many at a time
    see : the part of the network that is asked; by default all of it
    """
    net.eval()
    for index in torch.arange(len(images), device=images.images.device).split(batch):
        x = images.plain(index)
        yield index, x, forward(see or net, x, autocast)


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


class PlainStep:
    """PyTorch as a user would write it: the reference that every faster way is held against.

    A task that trains otherwise has a class of its own, which says anew how a batch is made
    (`batches`) or what a step does with it (`take`).

    Parameters
    ----------
    net : with fresh weights; it is brought to the device of the images
    images, labels : the training split: labels [N] as a tensor, or what is cut like its images
    losses_of : see `Losses`; a class that has its own `take` needs none
    """

    name = "plain"
    last = True  # whether the memory of images and weights has the channels last

    def __init__(
        self,
        config: Trained,
        net: nn.Module,
        images: Any,
        labels: Any,
        losses_of: Losses | None = None,
    ) -> None:
        self.config, self.images, self.labels, self.losses_of = config, images, labels, losses_of
        self.autocast = config.precision == "bfloat16"
        place = images.where, DTYPES[config.precision]
        self.net: nn.Module = channels_last(net, *place) if self.last else net.to(*place)
        self.optimizer = make_optimizer(config, self.net)
        self.optimizers = [self.optimizer]
        self.parts: dict[str, Any] = {"net": self.net, "optimizer": self.optimizer}
        if isinstance(config, Classification) and config.lookahead:
            slow = self.parts["lookahead"] = Lookahead(self.net, config.lookahead, config.steps)
            self.optimizer.register_step_post_hook(lambda *_: slow.step())

    def batches(self, plan: Plan) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of an epoch's batches."""
        for part in zip(*(part.split(self.config.batch) for part in plan), strict=True):
            own = self.labels
            yield (
                self.images.batch(*part),
                own[part[0]] if isinstance(own, Tensor) else own.batch(*part),
            )

    def take(self, images: Tensor, labels: Tensor, u: Any) -> tuple[Tensor, Tensor]:
        """Take one step on a batch; return its loss, unweighted, and how many images are right."""
        assert self.losses_of is not None
        loss, right = self.losses_of(self.net, images, labels, self.autocast)
        descend(self.optimizer, loss, u)
        return loss.detach(), right

    def epoch(self, plan: Plan, lr: np.ndarray, u: np.ndarray) -> tuple[Tensor, Tensor]:
        """Train one epoch, step t at learning rate lr[t] with loss weight u[t].

        Returns
        -------
        losses [steps] and correct [steps], on the device; nothing is read back before
        """
        self.net.train()
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        losses, correct = [], []
        for (images, labels), lr_t, u_t in zip(
            self.batches(plan), lr.tolist(), u.tolist(), strict=True
        ):
            for group in groups:
                group["lr"] = lr_t * group.get("scale", 1.0)  # old checkpoints have none
            loss, right = self.take(images, labels, u_t)
            losses.append(loss)
            correct.append(right)
        for group in groups:
            group["left"] = group.get("left", 0) - 1
            if group["left"] == 0:  # it has learned for as long as it was to
                group["scale"] = 0.0
        return torch.stack(losses), torch.stack(correct)

    def state(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
