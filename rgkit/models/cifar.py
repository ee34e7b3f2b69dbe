"""Networks for images of 32x32 by their widths: residual ones, and airbench's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from rgkit.data.compat import import_torchvision

resnet = import_torchvision().models.resnet


def start(net: nn.Module) -> nn.Module:
    """Draw the weights of all convolutions as torchvision's residual networks do."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


def stem(width: int, stride: int = 1) -> nn.Conv2d:
    """Return the first convolution of a network for images of 32x32."""
    return nn.Conv2d(3, width, 3, stride, padding=1, bias=False)


def stages(first: nn.Conv2d, *layers: nn.Module, out: int, classes: int) -> nn.Sequential:
    """Return a stem, layers that end with `out` channels, and a linear classifier."""
    head = [first, nn.BatchNorm2d(first.out_channels), nn.ReLU(inplace=True)]
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(out, classes)]
    net = nn.Sequential(*head, *layers, *tail)
    start(net)
    return net


def places(
    widths: Sequence[int], counts: Sequence[int], inside: int
) -> Iterator[tuple[int, int, int]]:
    """Yield channels in, channels out and stride of each layer of a network in stages.

    A stage of another width than the one before halves the image first.

    >>> list(places((4, 8), (1, 2), 3))
    [(3, 4, 1), (4, 8, 2), (8, 8, 1)]
    """
    before = widths[0]
    for out, count in zip(widths, counts, strict=True):
        for stride in [1 if out == before else 2] + [1] * (count - 1):
            yield inside, out, stride
            inside = before = out


def shortcut(inside: int, out: int, stride: int) -> nn.Sequential:
    """Return the way past a block that changes the channels."""
    return nn.Sequential(resnet.conv1x1(inside, out, stride), nn.BatchNorm2d(out))


def staged(
    widths: tuple[int, ...], blocks: tuple[int, ...], classes: int, large: bool = False
) -> nn.Sequential:
    """Return a residual network of basic blocks.

    A `large` one has ImageNet's stem, which makes the image four times smaller.
    """
    layers = list[nn.Module]()
    for inside, out, stride in places(widths, blocks, widths[0]):
        short = None if inside == out else shortcut(inside, out, stride)
        layers.append(resnet.BasicBlock(inside, out, stride, short))
    if large:
        layers.insert(0, nn.MaxPool2d(3, 2, 1))
    first = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False) if large else stem(widths[0])
    return stages(first, *layers, out=widths[-1], classes=classes)


class _PreActivated(nn.Module):
    """The block of a wide residual network: norm and ReLU before each convolution."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(inside), nn.ReLU(inplace=True))
        rest = [resnet.conv3x3(inside, out, stride), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
        self.rest = nn.Sequential(*rest, resnet.conv3x3(out, out))
        self.short = None if inside == out else resnet.conv1x1(inside, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        ready = self.first(x)
        past = x if self.short is None else self.short(ready)
        total: Tensor = self.rest(ready) + past
        return total


def wide(depth: int, times: float, classes: int) -> nn.Module:
    """Return WRN-depth-times of Zagoruyko and Komodakis 2016, without dropout.

    A widening that is not whole is rounded to whole channels.
    """
    first, widths = stem(16), [round(width * times) for width in (16, 32, 64)]
    layers = [_PreActivated(*place) for place in places(widths, [(depth - 4) // 6] * 3, 16)]
    tail = [nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)]
    tail += [nn.Flatten(), nn.Linear(widths[-1], classes)]
    return start(nn.Sequential(first, *layers, *tail))


# The network of the fast CIFAR-10 records (Jordan 2024, arXiv:2404.00498), at any width.
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
