"""Residual networks by stage widths: those of Calibrated SGD's tables, in CIFAR form."""

from __future__ import annotations

from torch import Tensor, nn

from rgkit.data.vision import import_torchvision

import_torchvision()
from torchvision.models import resnet  # noqa: E402


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


def staged(
    widths: tuple[int, ...], blocks: tuple[int, ...], classes: int, large: bool = False
) -> nn.Sequential:
    """Return a residual network of basic blocks; a stage that widens halves the image first.

    A `large` one has ImageNet's stem, which makes the image four times smaller.
    """
    inside, layers = widths[0], list[nn.Module]()
    for out, count in zip(widths, blocks, strict=True):
        for place in range(count):
            stride = 2 if place == 0 and out != inside else 1
            short = None
            if out != inside:
                short = nn.Sequential(resnet.conv1x1(inside, out, stride), nn.BatchNorm2d(out))
            layers.append(resnet.BasicBlock(inside, out, stride, short))
            inside = out
    if not large:
        return stages(stem(widths[0]), *layers, out=inside, classes=classes)
    first = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
    return stages(first, nn.MaxPool2d(3, 2, 1), *layers, out=inside, classes=classes)


class _PreActivated(nn.Module):
    """The block of a wide residual network: norm and ReLU before each convolution."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(inside), nn.ReLU(inplace=True))
        self.rest = nn.Sequential(
            resnet.conv3x3(inside, out, stride),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
            resnet.conv3x3(out, out),
        )
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
    inside, layers = 16, list[nn.Module]([stem(16)])
    for stage, out in enumerate(round(width * times) for width in (16, 32, 64)):
        for place in range((depth - 4) // 6):
            layers.append(_PreActivated(inside, out, 2 if stage and place == 0 else 1))
            inside = out
    tail = [nn.BatchNorm2d(inside), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return start(nn.Sequential(*layers, *tail, nn.Linear(inside, classes)))


class _Residual(nn.Sequential):
    """Layers whose output is added to their input."""

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = x + super().forward(x)  # type: ignore[no-untyped-call]
        return total


def nine(width: int, classes: int) -> nn.Module:
    """Return ResNet-9: eight convolutions in four widths, two skip connections, a linear layer."""

    def layer(inside: int, out: int, pool: bool = True) -> nn.Module:
        found = [resnet.conv3x3(inside, out), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
        return nn.Sequential(*found, *[nn.MaxPool2d(2)] * pool)

    def twice(channels: int) -> nn.Module:
        return _Residual(layer(channels, channels, False), layer(channels, channels, False))

    one, two, four, eight = (width * times for times in (1, 2, 4, 8))
    body = [layer(3, one, False), layer(one, two), twice(two), layer(two, four)]
    body += [layer(four, eight), twice(eight)]
    tail = [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(eight, classes)]
    return start(nn.Sequential(*body, *tail))
