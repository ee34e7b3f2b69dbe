"""Classification of images that fit on the device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rgkit.data import images as datasets
from rgkit.data.augment import Augmenter
from rgkit.data.source import Dataset
from rgkit.runs.config import STEPS, Classification
from rgkit.train import captured
from rgkit.train.device import DTYPES
from rgkit.train.loop import Split, Stepper, Task, splits
from rgkit.train.step import PlainStep, classify, fresh, predictions


def _load(data: str, reflect: int, precision: str) -> tuple[Dataset, Callable[..., Split]]:
    source = (found := datasets.load(data)).source
    look = source.mean, source.std, reflect or source.padding, DTYPES[precision]

    def made(images: Tensor, labels: Tensor) -> Split:
        return Augmenter(images, *look, reflect=reflect > 0), labels

    return found, made


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
    fits = config.optimizer == "sgd" and config.network().name != "gc"
    if kind == "plain" or (kind == "auto" and not (fits and labels.is_cuda)):
        smoothed = partial(classify, smoothing=config.label_smoothing)
        return PlainStep(config, fresh(config, classes, images), images, labels, smoothed)
    if not fits:
        given = f"step={kind!r} given with {config.optimizer} and {config.model}"
        raise ValueError(f"{given}; it knows sgd, and no GC layers, use 'plain'")
    return captured.take("captured" if kind == "auto" else kind, config, classes, images, labels)


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


TASK = Task(("loss", "accuracy"), partial(splits, _load), make_step, evaluate, kinds=STEPS)
