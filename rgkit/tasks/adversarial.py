"""One step of pix2pix: two networks, two losses, and which of them u multiplies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from rgkit.data.augment import Augmenter, Plan
from rgkit.method import laws
from rgkit.models.translation import build
from rgkit.runs.kinds import Translation
from rgkit.train.device import DTYPES
from rgkit.train.step import Kept, make_optimizer

SECOND = 2**32  # added to the seed of a run for the second draw: no run has it as its own


def judgement(judged: Tensor, real: bool, kind: str) -> Tensor:
    """Return the mean loss of judgements that should have said `real`.

    Parameters
    ----------
    judged : of any shape; 1 says real and 0 made (least squares), or logits (cross-entropy)
    kind : "least squares" or "cross-entropy"

    >>> judgement(torch.tensor([1.0, 0.0]), True, "least squares").item()
    0.5
    """
    wanted = torch.full_like(judged, float(real))
    loss = mse_loss if kind == "least squares" else binary_cross_entropy_with_logits
    return loss(judged, wanted)


def two_weights(config: Translation, per_epoch: int, u: np.ndarray, first: int) -> np.ndarray:
    """Return the loss weights of the generator and of the discriminator, [2, steps].

    Parameters
    ----------
    per_epoch : steps in an epoch of the run
    u : [steps], of the steps from `first` on, as the run's law drew them
    """
    if config.acts_on != "both, two draws":
        ones = np.ones_like(u)
        mine = ones if config.acts_on == "discriminator" else u
        return np.stack([mine, ones if config.acts_on == "generator" else u])
    law, at = laws.law(config.weight), np.arange(first + len(u))  # from the start of the run
    own = law.draw(
        at,
        at // per_epoch,
        epochs=config.epochs,
        seed=config.seed + SECOND,
        per_epoch=per_epoch,
    )
    return np.stack([u, own[first:]])


def length(params: list[Tensor], before: list[Tensor], lr: float) -> Tensor:
    """Return the root mean square step of all parameters, in units of the learning rate.

    Under Adam it is 1 for a gradient that does not change.

    >>> length([torch.ones(2)], [torch.tensor([0.9, 1.1])], 0.1).round(decimals=4).item()
    1.0
    """
    moved = torch._foreach_norm(torch._foreach_sub(params, before))
    count = sum(p.numel() for p in params)
    return torch.stack(list(moved)).double().square().sum().div(count).sqrt() / (lr or 1.0)


class PairStep(Kept):
    """pix2pix as a user would write it, the generator's step first, as RG's code has it.

    Both steps see the same pictures, which the generator made before its own step.
    """

    name = "plain"

    def __init__(self, config: Translation, inputs: Augmenter, targets: Augmenter) -> None:
        net, judge = build(config.model, config.judge, seed=config.seed)
        where, dtype = inputs.scale.device, DTYPES[config.precision]
        self.net: nn.Module = net.to(where, dtype)
        self.judge: nn.Module = judge.to(where, dtype)
        self.config, self.inputs, self.targets = config, inputs, targets
        self.optimizer = make_optimizer(config, self.net)
        self.second = make_optimizer(config, self.judge)
        self.parts = {"net": self.net, "judge": self.judge}
        self.parts |= {"optimizer": self.optimizer, "second": self.second}
        self.per_epoch = -(-len(targets) // config.batch)
        self.taken = 0  # steps since the start of the run
        self.lengths: tuple[Tensor, ...] = ()  # of each network's steps, over the last epoch
        self.params = [[p.detach() for p in n.parameters()] for n in (self.net, self.judge)]

    def epoch(self, plan: Plan, lr: np.ndarray, u: np.ndarray) -> tuple[Tensor, Tensor]:
        """Train one epoch, a batch at a time.

        Returns
        -------
        the generator's losses [steps], unweighted, and for how many pictures of each batch the
        discriminator was right, each by its part of right patches
        """
        self.net.train()
        self.judge.train()
        both = two_weights(self.config, self.per_epoch, u, self.taken)
        losses, right, lengths = list[Tensor](), list[Tensor](), list[Tensor]()
        for (x, y), lr_t, (mine, judges) in zip(
            self._batches(plan), lr.tolist(), both.T.tolist(), strict=True
        ):
            before = [[p.clone() for p in params] for params in self.params]
            for group in (*self.optimizer.param_groups, *self.second.param_groups):
                group["lr"] = lr_t
            loss, made = self._generate(x, y, mine)
            losses.append(loss)
            right.append(len(x) * self._tell_apart(x, y, made, judges))
            for params, old in zip(self.params, before, strict=True):
                lengths.append(length(params, old, lr_t))
        self.lengths = tuple(torch.stack(lengths).view(-1, 2).square().mean(0).sqrt())
        self.taken += len(u)
        return torch.stack(losses), torch.stack(right)

    def _batches(self, plan: Plan) -> Iterator[tuple[Tensor, Tensor]]:
        for part in zip(*(p.split(self.config.batch) for p in plan), strict=True):
            yield self.inputs.batch(*part), self.targets.batch(*part)

    def _autocast(self, x: Tensor) -> torch.autocast:
        return torch.autocast(
            x.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"
        )

    def _generate(self, x: Tensor, y: Tensor, u: float) -> tuple[Tensor, Tensor]:
        """Take the generator's step; return its loss and what it had made."""
        self.judge.requires_grad_(False)  # what it learns from is the other step
        with self._autocast(x):
            made = self.net(x)
            judged = self.judge(made, x)
        made = made.to(x.dtype)
        loss = judgement(judged.to(x.dtype), True, self.config.adversarial)
        loss = loss + self.config.lambda_l1 * (made - y).abs().mean()
        self.optimizer.zero_grad(set_to_none=True)
        (u * loss).backward()  # the method, as in rgkit.train.step
        self.optimizer.step()
        self.judge.requires_grad_(True)
        return loss.detach(), made.detach()

    def _tell_apart(self, x: Tensor, y: Tensor, made: Tensor, u: float) -> Tensor:
        """Take the discriminator's step; return the part of patches that it told right."""
        kind = self.config.adversarial
        with self._autocast(x):
            real, fake = self.judge(y, x), self.judge(made, x)
        real, fake = real.to(x.dtype), fake.to(x.dtype)
        loss = (judgement(real, True, kind) + judgement(fake, False, kind)) / 2
        self.second.zero_grad(set_to_none=True)
        (u * loss).backward()
        self.second.step()
        border = 0.5 if kind == "least squares" else 0.0
        told = [(real.detach() > border).double(), (fake.detach() < border).double()]
        return torch.stack(told).mean()

    def state(self) -> dict[str, Any]:
        """Return both networks, both optimizers and how many steps they have taken."""
        return super().state() | {"taken": self.taken}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        super().load(state)
        self.taken = state["taken"]
