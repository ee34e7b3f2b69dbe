"""The network of the fast CIFAR-10 records (Jordan 2024, arXiv:2404.00498), at any width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WHITENED = 5_000  # training images whose patches the first layer whitens
SMALLEST = 0.0005  # added to the eigenvalues, so that no direction of noise is blown up
HEAD = 1 / 9  # the logits' scale


class Whitening(nn.Conv2d):
    """A frozen 2x2 convolution that decorrelates patches; only its bias learns.

    `whiten` sets its weights: the eigenvectors of the covariance of the patches of training images,
    each over the root of its eigenvalue, and their negatives.
    """

    def __init__(self) -> None:
        super().__init__(3, 24, 2)
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def whiten(self, images: Tensor) -> None:
        """Set the weights from normalised images [N, 3, height, width].

        An eigenvector's sign is arbitrary: its largest entry is made positive, so that machines
        agree on the order of the channels.
        """
        # A sum over the images, a part at a time: all patches at once would take a gigabyte.
        total, count = torch.zeros(12, 12, dtype=torch.float64), 0
        for part in images.split(500):
            patches = nn.functional.unfold(part.double().cpu(), 2).transpose(1, 2).reshape(-1, 12)
            total, count = total + patches.T @ patches, count + len(patches)
        values, vectors = torch.linalg.eigh(total / count)
        largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
        filters = (vectors * largest.sign() / (values + SMALLEST).sqrt()).T.flip(0)
        self.weight.copy_(torch.cat([filters, -filters]).view_as(self.weight))


def _convolution(inside: int, out: int) -> nn.Conv2d:
    """Return a 3x3 convolution whose first filters hand their input on."""
    layer = nn.Conv2d(inside, out, 3, padding="same", bias=False)
    nn.init.dirac_(layer.weight.data[:inside])
    return layer


def _norm(width: int) -> nn.BatchNorm2d:
    """Return a batch norm with a bias and no scale; its momentum is torch's, of the new batch."""
    layer = nn.BatchNorm2d(width, eps=1e-12, momentum=0.4)
    layer.weight.requires_grad_(False)
    return layer


class Airbench(nn.Sequential):
    """Whitening, three groups of two convolutions, and a linear head without bias.

    Parameters
    ----------
    width : of the first group; the other two are four times as wide. 64 is the paper's.
    bias_epochs : after how many epochs the first layer's bias stops learning; 0 is never
    classes : int
    """

    def __init__(self, width: int, bias_epochs: int, classes: int) -> None:
        self.bias_epochs = bias_epochs
        layers: list[nn.Module] = [Whitening(), nn.GELU()]
        inside = 24
        for out in (width, 4 * width, 4 * width):
            layers += [_convolution(inside, out), nn.MaxPool2d(2), _norm(out), nn.GELU()]
            layers += [_convolution(out, out), _norm(out), nn.GELU()]
            inside = out
        super().__init__(*layers, nn.MaxPool2d(3), nn.Flatten(), nn.Linear(inside, classes, False))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images [batch, 3, height, width] of 25 to 48 pixels."""
        logits: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        return logits * HEAD
