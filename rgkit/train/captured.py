"""The fast step for a GPU: a whole training step, captured once and replayed for every batch.

Learning rate, loss weight, momentum and weight decay live in device tensors, and the step finds its
own batch by a counter on the device. So an epoch is as many replays as it has batches: no schedule
and no random draw recompiles, recaptures or waits, and one capture serves every arm and seed.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rgkit.data.augment import Augmenter, Plan
from rgkit.data.compat import channels_last
from rgkit.models.classification import build
from rgkit.runs.config import Classification
from rgkit.train.device import DTYPES, chosen_algorithms
from rgkit.train.loop import Stepper
from rgkit.train.step import Lookahead, classify, fresh, groups, scale_at

WARM_UP = 3  # steps before the capture: cuDNN chooses its algorithms in them


class CapturedStep(Stepper):
    """A network, SGD, and a training step that runs without the host.

    Parameters
    ----------
    kind : "captured", or "compiled" where torch.compile fuses the network first
    config : batch, Nesterov, precision, smoothing and groups of rates are those of all its runs
    net : module on the device of the data
    images, labels : the training split on the device

    On a CPU nothing is captured: the same code then runs operation by operation, for tests.
    """

    def __init__(
        self, kind: str, config: Classification, net: nn.Module, images: Augmenter, labels: Tensor
    ) -> None:
        self.name, self.net, self.images, self.labels = kind, net, images, labels
        self.forward = torch.compile(net) if kind == "compiled" else net
        self.batch, self.nesterov = config.batch, config.nesterov
        self.autocast, self.smoothing = config.precision == "bfloat16", config.label_smoothing
        self.groups = groups(net, config.bias_rate)
        for group in self.groups:
            group["params"] = [p for p in group["params"] if p.requires_grad]
        self.params: list[Tensor] = [p for group in self.groups for p in group["params"]]
        self.velocity = [torch.zeros_like(p) for p in self.params]
        where, count, dtype = labels.device, len(labels), images.scale.dtype
        steps = -(-count // self.batch)
        # What a replay reads: filled before each epoch, never replaced.
        self.plan: Plan = tuple(  # type: ignore[assignment]
            torch.zeros(count, dtype=each, device=where)
            for each in (torch.int64, torch.int64, torch.int64, torch.bool)
        )
        self.lr = torch.zeros(steps, dtype=dtype, device=where)
        self.u = torch.zeros(steps, dtype=dtype, device=where)
        self.momentum = torch.zeros((), dtype=dtype, device=where)
        self.weight_decay = torch.zeros((), dtype=dtype, device=where)
        self.scales = torch.ones(len(self.groups), dtype=dtype, device=where)  # in this epoch
        # What a replay writes.
        self.at = torch.zeros(1, dtype=torch.int64, device=where)  # the step in this epoch
        self.losses = torch.zeros(steps, dtype=dtype, device=where)
        self.correct = torch.zeros(steps, dtype=torch.int64, device=where)
        self.places = torch.arange(self.batch, device=where)
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
        # Its own: a library's workspace belongs to the stream of the capture.
        self.aside = torch.cuda.Stream() if labels.is_cuda else None

    def _step(self, size: int) -> None:
        """Take step `at` of the epoch on a batch of `size` images, and count on."""
        places = self.at * self.batch + self.places[:size]
        index, dy, dx, mirror = (part[places] for part in self.plan)
        images, labels = self.images.batch(index, dy, dx, mirror), self.labels[index]
        # The last, smaller batch of an epoch is not worth compiling everything once more.
        net = self.forward if size == self.batch else self.net
        loss, right = classify(net, images, labels, self.autocast, self.smoothing)
        weighted = self.u[self.at].squeeze(0) * loss  # the method, as in rgkit.train.step
        grads = list(torch.autograd.grad(weighted, self.params))
        self._descend(grads)
        self.losses.index_copy_(0, self.at, loss.detach().reshape(1))
        self.correct.index_copy_(0, self.at, right.reshape(1))
        self.at += 1

    @torch.no_grad()
    def _descend(self, grads: list[Tensor]) -> None:
        """SGD as torch.optim.SGD has it, with every coefficient a tensor on the device."""
        first, lr = 0, self.lr[self.at].squeeze(0)
        for place, group in enumerate(self.groups):
            own = slice(first, first + len(group["params"]))
            params, velocity, way = self.params[own], self.velocity[own], grads[own]
            torch._foreach_add_(way, torch._foreach_mul(params, self.weight_decay / group["scale"]))
            torch._foreach_mul_(velocity, self.momentum)
            torch._foreach_add_(velocity, way)
            if self.nesterov:
                torch._foreach_add_(way, torch._foreach_mul(velocity, self.momentum))
            else:
                way = velocity
            moved = torch._foreach_mul(way, lr * self.scales[place])
            torch._foreach_sub_(params, list(moved))
            first = own.stop

    def _capture(self, size: int) -> None:
        """Record the step for batches of `size`; the weights are as before afterwards."""
        held = [t.clone() for t in self._everything()]
        assert self.aside is not None
        with chosen_algorithms(fastest=True):
            self.aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.aside):
                for _ in range(WARM_UP):
                    self.at.zero_()
                    self._step(size)
            torch.cuda.current_stream().wait_stream(self.aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.aside):
                self._step(size)
        self.graphs[size] = graph
        with torch.no_grad():
            for tensor, value in zip(self._everything(), held, strict=True):
                tensor.copy_(value)

    def _everything(self) -> list[Tensor]:
        """What a step changes."""
        own = [self.at, self.losses, self.correct]
        return [*self.net.state_dict().values(), *self.velocity, *own]

    def start(self, config: Classification, classes: int) -> None:
        """Begin a run: fresh weights of its seed, its momentum and weight decay, no velocity."""
        first = fresh(config, classes, self.images)
        self.net.load_state_dict(first.state_dict())  # in place: a captured step keeps its tensors
        for tensor in self.velocity:
            tensor.zero_()
        self.momentum.fill_(config.momentum)
        self.weight_decay.fill_(config.coefficient)
        self.parts = {"net": self.net}
        if config.lookahead:
            self.parts["lookahead"] = Lookahead(self.net, config.lookahead, config.steps)

    def epoch(
        self, plan: Plan, lr: np.ndarray, u: np.ndarray, number: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Train one epoch; return losses and correct [steps], which the next epoch overwrites."""
        self.net.train()
        for mine, given in zip(self.plan, plan, strict=True):
            mine.copy_(given)
        self.lr.copy_(torch.from_numpy(lr))
        self.u.copy_(torch.from_numpy(u))
        self.scales.copy_(torch.tensor([scale_at(group, number) for group in self.groups]))
        count = len(self.labels)
        sizes = [min(self.batch, count - first) for first in range(0, count, self.batch)]
        if self.labels.is_cuda:
            for size in set(sizes) - set(self.graphs):
                self._capture(size)
        self.at.zero_()
        slow = self.parts.get("lookahead")
        for size in sizes:
            if self.labels.is_cuda:
                self.graphs[size].replay()
            else:
                self._step(size)
            if slow:
                slow.step()
        return self.losses, self.correct

    def state(self) -> dict[str, Any]:
        """Return weights, velocity and slow weights."""
        return super().state() | {"velocity": self.velocity}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned, in place."""
        super().load(state)
        for mine, given in zip(self.velocity, state["velocity"], strict=True):
            mine.copy_(given)


# What decides the operations of a step; everything else of a run is a number on the device.
DECIDES = (
    "data", "model", "batch", "nesterov", "precision", "label_smoothing", "bias_rate",
)  # fmt: skip


@functools.lru_cache(maxsize=8)
def _shared(
    kind: str, config: Classification, classes: int, images: Augmenter, labels: Tensor
) -> CapturedStep:
    """Return one captured step for all runs that differ in numbers only."""
    net = channels_last(build(config.model, classes), labels.device, DTYPES[config.precision])
    return CapturedStep(kind, config, net, images, labels)


def take(
    kind: str, config: Classification, classes: int, images: Augmenter, labels: Tensor
) -> CapturedStep:
    """Return the captured step for a config, "captured" or "compiled", its weights fresh."""
    alike = Classification(**{name: getattr(config, name) for name in DECIDES})
    step = _shared(kind, alike, classes, images, labels)
    step.start(config, classes)
    return step
