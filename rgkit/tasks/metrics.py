"""What is measured after each epoch, without reading anything back from the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rgkit.data.augment import Augmenter
from rgkit.models.calibrated import optimized


def names(measured: Sequence[str], held: bool, own: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of what is recorded of an epoch, in order.

    Parameters
    ----------
    measured : what a task measures of a split
    held : whether images are held out for validation
    own : what a task measures of its own steps

    >>> names(["loss", "accuracy"], held=False)[:4]
    ('train_loss', 'train_accuracy', 'test_loss', 'test_accuracy')
    """
    train = ("train_loss", "train_accuracy")  # unweighted, of the images as they were trained on
    rest = (
        "weight_norm",  # of all tensors with two or more axes
        "lr",  # at the epoch's last step
        "u_mean",
        "u_std",
    )
    also = [f"validation_{name}" for name in measured] if held else []
    return (*train, *(f"test_{name}" for name in measured), *rest, *also, *own)


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
    net.eval()
    loss, correct = torch.zeros((), device=labels.device), torch.zeros((), device=labels.device)
    for index in torch.arange(len(labels), device=labels.device).split(batch):
        x = images.plain(index)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
            logits = net(x)
        loss += cross_entropy(logits.to(x.dtype), labels[index], reduction="sum")
        correct += (logits.argmax(1) == labels[index]).sum()
    return loss.double() / len(labels), 100 * correct.double() / len(labels)


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
