"""The one training loop: the only place where the loss is multiplied by u."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rgkit import data as datasets
from rgkit import schedules, weights
from rgkit.config import Classification
from rgkit.data.augment import Augmenter, epoch_plan
from rgkit.models.classification import build

DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
METRICS = (
    "train_loss",  # unweighted, mean over the epoch
    "train_accuracy",  # percent, of the augmented images as they were trained on
    "test_loss",
    "test_accuracy",  # percent
    "weight_norm",  # of all tensors with two or more axes
    "lr",  # at the epoch's last step
    "u_mean",
    "u_std",
)


@dataclass
class Outcome:
    """What a training run measured.

    ``status`` is "finished" or "diverged"; then ``diverged_at`` is the first step whose loss was
    not finite. ``epochs`` has a list per metric, a value for each epoch that was completed.
    """

    status: str = "finished"
    diverged_at: int | None = None
    epochs: dict[str, list[float]] = field(default_factory=dict)


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name; ``auto`` is the GPU if there is one.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device={name!r} given; it is auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={name!r} given, but torch sees no GPU; use auto or cpu")
    return device


@contextlib.contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Same config, same numbers, whatever ran before; what was set before is set again after.

    A CPU run uses one thread: the order of additions is then fixed, and two runs of one thread
    each are faster than one run of two.
    """
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn
    flags = cudnn.deterministic, cudnn.benchmark
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        cudnn.deterministic, cudnn.benchmark = True, False
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            cudnn.deterministic, cudnn.benchmark = flags


def make_optimizer(config: Classification, net: nn.Module) -> torch.optim.Optimizer:
    """Return SGD or Adam with weight decay coupled to the gradient, as the papers' code has it."""
    if config.optimizer == "adam":
        betas = (config.momentum, 0.999)
        return torch.optim.Adam(
            net.parameters(), config.lr, betas=betas, weight_decay=config.weight_decay
        )
    return torch.optim.SGD(
        net.parameters(),
        config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.nesterov,
    )


def train_epoch(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[tuple[Tensor, Tensor]],
    lr: np.ndarray,
    u: np.ndarray,
    autocast: bool = False,
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
            group["lr"] = lr_t
        with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
            logits = net(images)
        loss = cross_entropy(logits.to(images.dtype), labels)
        optimizer.zero_grad(set_to_none=True)
        (u_t * loss).backward()  # the method
        optimizer.step()
        losses.append(loss.detach())
        correct.append((logits.detach().argmax(1) == labels).sum())
    return torch.stack(losses), torch.stack(correct)


@torch.inference_mode()
def evaluate(
    net: nn.Module, images: Augmenter, labels: Tensor, autocast: bool, batch: int = 500
) -> tuple[float, float]:
    """Return the mean loss and the accuracy in percent over a whole split."""
    net.eval()
    loss, correct = torch.zeros((), device=labels.device), torch.zeros((), device=labels.device)
    for index in torch.arange(len(labels), device=labels.device).split(batch):
        x = images.plain(index)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
            logits = net(x)
        loss += cross_entropy(logits.to(x.dtype), labels[index], reduction="sum")
        correct += (logits.argmax(1) == labels[index]).sum()
    return float(loss) / len(labels), 100 * float(correct) / len(labels)


def weight_norm(net: nn.Module) -> float:
    """Return the Euclidean norm of all weights with two or more axes (not biases, not scales)."""
    return math.sqrt(sum(float(p.detach().square().sum()) for p in net.parameters() if p.ndim > 1))


def train(
    config: Classification,
    device: str = "auto",
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Outcome:
    """Train one run from start to end.

    Parameters
    ----------
    config : Classification
    device : str
    on_epoch : called with the number of epochs done, for progress

    Returns
    -------
    Outcome; the same config gives the same numbers bit for bit on the same machine

    Examples
    --------
    >>> tiny = Classification(data="digits", images=100, model="resnet8(2)", epochs=1)
    >>> outcome = train(tiny, "cpu")
    >>> outcome.status, len(outcome.epochs["test_accuracy"])
    ('finished', 1)
    """
    where, dtype = pick_device(device), DTYPES[config.precision]
    found = datasets.load(config.data)
    total = len(found.train_labels)
    if config.images > total:
        raise ValueError(f"images={config.images} given; {config.data} has {total:,} to train on")
    count = config.images or total
    per_epoch = math.ceil(count / config.batch)
    steps = np.arange(per_epoch * config.epochs)
    lr = config.lr * schedules.schedule(config.schedule).factor(
        steps, steps_per_epoch=per_epoch, epochs=config.epochs
    )
    u = weights.law(config.weight).draw(
        steps, steps // per_epoch, epochs=config.epochs, seed=config.seed
    )
    look = (found.mean, found.std, found.padding, dtype)
    train_images = Augmenter(torch.from_numpy(found.train_images[:count]).to(where), *look)
    train_labels = torch.from_numpy(found.train_labels[:count]).to(where)
    test_images = Augmenter(torch.from_numpy(found.test_images).to(where), *look)
    test_labels = torch.from_numpy(found.test_labels).to(where)
    autocast = config.precision == "bfloat16"
    outcome = Outcome(epochs={name: [] for name in METRICS})

    with reproducible(config.seed):
        net = build(config.model, found.classes, seed=config.seed).to(where, dtype)
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = make_optimizer(config, net)
        for epoch in range(config.epochs):
            plan = epoch_plan(count, config.seed, epoch, config.augment, found.padding, where)
            parts = zip(*(part.split(config.batch) for part in plan), strict=True)
            batches = ((train_images.batch(*part), train_labels[part[0]]) for part in parts)
            now = slice(epoch * per_epoch, (epoch + 1) * per_epoch)
            losses, correct = train_epoch(net, optimizer, batches, lr[now], u[now], autocast)
            bad = (~losses.isfinite()).nonzero()
            if len(bad):
                outcome.status = "diverged"
                outcome.diverged_at = epoch * per_epoch + int(bad[0])
                return outcome
            sizes = torch.tensor([len(p) for p in plan[0].split(config.batch)], device=where)
            test_loss, test_accuracy = evaluate(net, test_images, test_labels, autocast)
            values = (
                float((losses * sizes).sum()) / count,
                100 * float(correct.sum()) / count,
                test_loss,
                test_accuracy,
                weight_norm(net),
                float(lr[now][-1]),
                float(u[now].mean()),
                float(u[now].std()),
            )
            for name, value in zip(METRICS, values, strict=True):
                outcome.epochs[name].append(value)
            on_epoch(epoch + 1)
    return outcome
