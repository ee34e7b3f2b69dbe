"""One step of training: the place where the loss is multiplied by u, and what a recipe adds to it.

A tuned recipe has rates by group, a first bias that stops learning, and Lookahead.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rgkit.data.augment import Augmenter, Crops, Plan
from rgkit.data.compat import channels_last
from rgkit.models.calibrated import calibrate_after, optimized
from rgkit.models.cifar import WHITENED, Airbench, Whitening
from rgkit.models.classification import build
from rgkit.runs.config import Classification, Trained
from rgkit.train.device import DTYPES
from rgkit.train.loop import Stepper

DECAY = 0.95**5  # of Lookahead's slow weights, when the run ends (Jordan 2024)

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
    # Each weight is cast once a step anyway, and a cache would outlive a capture.
    where = images.device.type
    with torch.autocast(where, torch.bfloat16, enabled=autocast, cache_enabled=False):
        return net(images)


def classify(
    net: Callable[[Tensor], Any],
    images: Tensor,
    labels: Tensor,
    autocast: bool,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of a batch, its labels smoothed, and how many images are right."""
    logits = forward(net, images, autocast)
    loss = cross_entropy(logits.to(images.dtype), labels, label_smoothing=smoothing)
    return loss, (logits.detach().argmax(1) == labels).sum()


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


@functools.lru_cache(maxsize=2)  # as long as some epochs on a GPU, and the same for every run
def whitened(images: Augmenter) -> Tensor:
    """Return the weights of a first layer that whitens these images."""
    layer = Whitening()
    layer.whiten(images.plain(torch.arange(min(WHITENED, len(images)), device=images.where)))
    return layer.weight


def fresh(config: Classification, classes: int, images: Augmenter) -> nn.Module:
    """Return a network with the weights of the config's seed; a whitening layer sees the images."""
    net = build(config.model, classes, seed=config.seed)
    for layer in net.modules():
        if isinstance(layer, Whitening):
            layer.weight.data.copy_(whitened(images))
    return net


def groups(net: nn.Module, bias_rate: float = 1.0) -> list[dict[str, Any]]:
    """Return the groups of a network's parameters as optimizers take them, frozen ones among them.

    The learning rate of a group is `scale` times that of the config; after so many `epochs` it
    stops learning, 0 is never.

    Parameters
    ----------
    bias_rate : times the learning rate, for the biases of batch norms; 1 makes no group of them

    >>> net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    >>> [(len(group["params"]), group["scale"]) for group in groups(net, 64)]
    [(3, 1.0), (1, 64)]
    """
    learn, found = {id(p): p for p in optimized(net)}, []
    if bias_rate != 1:
        norms = (m.bias for m in net.modules() if isinstance(m, nn.BatchNorm2d))
        if biases := [learn.pop(id(bias)) for bias in norms if bias is not None]:
            found.append({"params": biases, "scale": bias_rate, "epochs": 0})
    if isinstance(net, Airbench) and net.bias_epochs:
        first = next(m.bias for m in net.modules() if isinstance(m, Whitening))
        assert first is not None
        found.append({"params": [learn.pop(id(first))], "scale": 1.0, "epochs": net.bias_epochs})
    return [{"params": list(learn.values()), "scale": 1.0, "epochs": 0}, *found]


def scale_at(group: dict[str, Any], epoch: int) -> float:
    """Return a group's learning rate in an epoch, counted from 0, in units of the config's."""
    # An old checkpoint's group has neither.
    return 0.0 if 0 < group.get("epochs", 0) <= epoch else group.get("scale", 1.0)


class Lookahead:
    """Slow weights that follow the fast ones, which go on from them (Zhang et al. 2019).

    After each `every` steps slow = slow + (1 - 0.95**5 * done**3) * (fast - slow) and fast = slow,
    where `done` is the part of the run that is over: at first the two are nearly the same, in the
    end the slow weights hardly move. When the run ends, they are the network's. Running means of
    batch norms are averaged like weights.

    Parameters
    ----------
    net : module
    every, steps : between two meetings, and in the whole run
    """

    def __init__(self, net: nn.Module, every: int, steps: int) -> None:
        self.fast = [t for t in net.state_dict().values() if t.is_floating_point()]
        self.slow = [t.clone() for t in self.fast]
        self.every, self.steps, self.taken = every, steps, 0

    @torch.no_grad()
    def step(self) -> None:
        """Count a step of the optimizer; every so many, and at the end, the two meet."""
        self.taken += 1
        if self.taken % self.every == 0:
            pull = 1 - DECAY * (self.taken / self.steps) ** 3
            torch._foreach_lerp_(self.slow, self.fast, pull)
            torch._foreach_copy_(self.fast, self.slow)
        if self.taken == self.steps:
            torch._foreach_copy_(self.fast, self.slow)

    def state_dict(self) -> dict[str, Any]:
        """Return the slow weights and how many steps were taken."""
        return {"slow": self.slow, "taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        torch._foreach_copy_(self.slow, state["slow"])
        self.taken = state["taken"]


def make_optimizer(config: Trained, net: nn.Module) -> torch.optim.Optimizer:
    """Return SGD or Adam with weight decay coupled to the gradient, as the papers' code has it.

    A group of parameters says by ``scale`` how its learning rate differs from that of the config.
    """
    bias_rate = config.bias_rate if isinstance(config, Classification) else 1.0
    decay = config.coefficient
    parameters = [g | {"weight_decay": decay / g["scale"]} for g in groups(net, bias_rate)]
    found: torch.optim.Optimizer
    if config.optimizer == "adam":
        found = torch.optim.Adam(parameters, config.lr, betas=(config.momentum, config.beta2))
    else:
        found = torch.optim.SGD(
            parameters, config.lr, momentum=config.momentum, nesterov=config.nesterov
        )
    calibrate_after(found, net)
    return found


class PlainStep(Stepper):
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

    def batches(self, plan: Plan, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of the batches of an epoch, whose number some tasks use."""
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

    def epoch(
        self, plan: Plan, lr: np.ndarray, u: np.ndarray, number: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Train one epoch, see `Stepper`."""
        self.net.train()
        rates = [
            (group, scale_at(group, number))
            for optimizer in self.optimizers
            for group in optimizer.param_groups
        ]
        losses, correct = [], []
        for (images, labels), lr_t, u_t in zip(
            self.batches(plan, number), lr.tolist(), u.tolist(), strict=True
        ):
            for group, scale in rates:
                group["lr"] = lr_t * scale
            loss, right = self.take(images, labels, u_t)
            losses.append(loss)
            correct.append(right)
        return torch.stack(losses), torch.stack(correct)
