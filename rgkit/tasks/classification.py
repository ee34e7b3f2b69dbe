"""Classification of images that fit on the device."""

from __future__ import annotations

import functools
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rgkit.data import images as datasets
from rgkit.data.augment import Augmenter
from rgkit.runs.config import STEPS, Classification
from rgkit.train import captured
from rgkit.train.device import DTYPES
from rgkit.train.loop import Split, Splits, Stepper, Task, split
from rgkit.train.step import PlainStep, classify, fresh, predictions


@functools.lru_cache(maxsize=2)  # on the device, for the next run on them
def _load(
    name: str, reflect: int, count: int, held: int, precision: str, where: torch.device
) -> Splits:
    found = datasets.load(name)

    def made(images: Tensor, labels: Tensor) -> Split:
        source, dtype = found.source, DTYPES[precision]
        look = source.mean, source.std, reflect or source.padding, dtype
        return Augmenter(images, *look, reflect=reflect > 0), labels

    classes = len(found.source.classes)
    return *split(name, count, held, where, found.train, found.test, made), classes


def _splits(c: Classification, where: torch.device) -> Splits:
    return _load(c.data, c.reflect, c.images, c.validation, c.precision, where)


def make_step(
    kind: str, config: Classification, classes: int, images: Augmenter, labels: Tensor
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
    """
    branched = config.network().name == "gc"
    if kind == "auto":
        fast = labels.is_cuda and config.optimizer == "sgd" and not branched
        kind = "captured" if fast else "plain"
    if branched and kind != "plain":
        raise ValueError(f"step={kind!r} given with {config.model}; use 'plain', which updates R")
    if kind == "plain":
        smoothed = partial(classify, smoothing=config.label_smoothing)
        return PlainStep(config, fresh(config, classes, images), images, labels, smoothed)
    return captured.take(kind, config, classes, images, labels)


@torch.inference_mode()
def evaluate(
    net: nn.Module, images: Augmenter, labels: Tensor, autocast: bool, batch: int = 500
) -> tuple[Tensor, Tensor]:
    """Return the mean loss and the accuracy in percent over a whole split, on the device.

    Parameters
    ----------
    net : module from images to logits; it is left in evaluation mode
    images, labels : the split, N images and int64 [N]
    autocast : whether the forward pass is in bfloat16

    Returns
    -------
    two float64 tensors of shape []
    """
    loss, correct = torch.zeros((), device=labels.device), torch.zeros((), device=labels.device)
    for index, x, logits in predictions(net, images, autocast, batch):
        loss += cross_entropy(logits.to(x.dtype), labels[index], reduction="sum")
        correct += (logits.argmax(1) == labels[index]).sum()
    return loss.double() / len(labels), 100 * correct.double() / len(labels)


TASK = Task(("loss", "accuracy"), _splits, make_step, evaluate, kinds=STEPS)
