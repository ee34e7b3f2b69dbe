"""What a tuned recipe adds to SGD: rates by group, a first bias that stops learning, Lookahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rgkit.data.augment import Augmenter
from rgkit.models.calibrated import optimized
from rgkit.models.cifar import WHITENED, Airbench, Whitening
from rgkit.models.classification import build
from rgkit.runs.kinds import Classification

DECAY = 0.95**5  # of Lookahead's slow weights, when the run ends (Jordan 2024)


def fresh(config: Classification, classes: int, images: Augmenter) -> nn.Module:
    """Return a network with the weights of the config's seed; a whitening layer sees the images."""
    net = build(config.model, classes, seed=config.seed)
    for layer in net.modules():
        if isinstance(layer, Whitening):
            first = torch.arange(min(WHITENED, len(images)), device=images.scale.device)
            layer.whiten(images.plain(first))
    return net


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate, `scale` times that of the config.

    Attributes
    ----------
    epochs : after how many epochs they stop learning; 0 is never
    """

    params: list[nn.Parameter]
    scale: float = 1.0
    epochs: int = 0

    def learning(self) -> list[nn.Parameter]:
        """Return those that are not frozen."""
        return [p for p in self.params if p.requires_grad]

    def at(self, epoch: int) -> float:
        """Return the scale in an epoch, counted from 0."""
        return 0.0 if self.epochs and epoch >= self.epochs else self.scale


def groups(net: nn.Module, bias_rate: float = 1.0) -> list[Group]:
    """Return the groups of a network's parameters, frozen ones among them.

    Parameters
    ----------
    bias_rate : times the learning rate, for the biases of batch norms; 1 makes no group of them

    >>> net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    >>> [(len(group.params), group.scale) for group in groups(net, 64)]
    [(3, 1.0), (1, 64)]
    """
    learn, found = {id(p): p for p in optimized(net)}, []
    if bias_rate != 1:
        norms = (m.bias for m in net.modules() if isinstance(m, nn.BatchNorm2d))
        if biases := [learn.pop(id(bias)) for bias in norms if bias is not None]:
            found.append(Group(biases, bias_rate))
    if isinstance(net, Airbench) and net.bias_epochs:
        first = next(m.bias for m in net.modules() if isinstance(m, Whitening))
        assert first is not None
        found.append(Group([learn.pop(id(first))], 1.0, net.bias_epochs))
    return [Group(list(learn.values())), *found]


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
