"""pix2pix: a U-Net that turns pictures into pictures, and discriminators that judge patches."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from rgkit.models.names import Discriminator, Generator, Halving, UNet, named

SLOPE = 0.2  # of the leaky ReLUs, and below the standard deviation of fresh weights: pix2pix's
DEVIATION = 0.02
DROPPED = 3  # doublings that have dropout, from the smallest on: CD512-CD512-CD512 in the paper


def _conv(
    inside: int, out: int, norm: str = "", stride: int = 2, kind: Any = nn.Conv2d
) -> list[nn.Module]:
    """A convolution of 4x4 and its norm, if any; batch norm has a bias of its own."""
    layers: list[nn.Module] = [kind(inside, out, 4, stride, padding=1, bias=norm != "batch")]
    norms = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}
    return [*layers, norms[norm](out)] if norm else layers


def _widths(spec: Discriminator | UNet, count: int) -> list[int]:
    return [spec.width * min(2**level, 8) for level in range(count)]


class Unet(nn.Module):
    """The generator of Isola et al. 2017.

    From pictures [batch, 3, size, size] between -1 and 1 to the same; `size` is a multiple of
    ``2 ** levels``. Every level hands its picture over to the doubling of its own size.
    """

    def __init__(self, spec: UNet) -> None:
        super().__init__()
        widths = _widths(spec, spec.levels)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (inside, out) in enumerate(pairwise([3, *widths])):
            first = [nn.LeakyReLU(SLOPE)] if level else []
            # A single pixel has no deviation to divide by, so the last level has no norm.
            norm = spec.norm if 0 < level < spec.levels - 1 else ""
            self.down.append(nn.Sequential(*first, *_conv(inside, out, norm)))
        for number, (inside, out) in enumerate(pairwise(reversed(widths))):
            # All but the first see what was handed over beside what comes from below.
            inside *= 2 if number else 1
            parts = [nn.ReLU(), *_conv(inside, out, spec.norm, kind=nn.ConvTranspose2d)]
            parts += [nn.Dropout(spec.dropout)] if spec.dropout and number < DROPPED else []
            self.up.append(nn.Sequential(*parts))
        last = _conv(2 * widths[0], 3, kind=nn.ConvTranspose2d)
        self.up.append(nn.Sequential(nn.ReLU(), *last, nn.Tanh()))

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the translated pictures."""
        kept, x = list[Tensor](), pictures
        for part in self.down:
            x = part(x)
            kept.append(x)
        for place, part in enumerate(self.up):
            below = kept.pop()  # of the smallest level this is x itself
            x = part(torch.cat([x, below], dim=1) if place else x)
        return x


class Patches(nn.Module):
    """A discriminator: of an input and what may be its translation, one number for each patch.

    From two pictures [batch, 3, size, size] to [batch, 1, rows, columns], high for real ones.
    """

    def __init__(self, spec: Discriminator) -> None:
        super().__init__()
        halving = isinstance(spec, Halving)
        # PatchGAN has one more convolution, which keeps the size.
        widths = _widths(spec, spec.layers + (not halving))
        parts: list[nn.Module] = []
        for level, (inside, out) in enumerate(pairwise([6, *widths])):
            stride = 2 if level < spec.layers else 1
            parts += _conv(inside, out, spec.norm if level else "", stride)
            parts.append(nn.LeakyReLU(SLOPE))
        # A kernel of 4 takes one pixel off; RG's code gives it back on the left and on top.
        parts += [nn.ZeroPad2d((1, 0, 1, 0))] if halving else []
        parts.append(nn.Conv2d(widths[-1], 1, 4, padding=1, bias=not halving))
        self.parts = nn.Sequential(*parts)

    def forward(self, pictures: Tensor, inputs: Tensor) -> Tensor:
        """Return the judgements."""
        judged: Tensor = self.parts(torch.cat([pictures, inputs], dim=1))
        return judged


def _fresh(net: nn.Module) -> None:
    """Weights normal(0, 0.02), scales normal(1, 0.02), everything else zero, as in pix2pix."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            scale = isinstance(module, nn.BatchNorm2d)
            nn.init.normal_(module.weight, 1.0 if scale else 0.0, DEVIATION)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def build(
    name: str | Generator, judge: str | Discriminator, *, seed: int = 0
) -> tuple[Unet, Patches]:
    """Build a generator and a discriminator with fresh weights, on the CPU in float32.

    Parameters
    ----------
    name : ``unet(levels, width, norm, dropout)``, see `rgkit.models.names`
    judge : ``patchgan(layers, width, norm)`` or ``halving(layers, width, norm)``
    seed : the same seed gives the same weights; the global random state is left as it was

    Examples
    --------
    >>> net, judge = build("unet(3, 4)", "halving(2, 4)")
    >>> made = net(torch.zeros(2, 3, 16, 16))
    >>> made.shape, judge(made, made).shape
    (torch.Size([2, 3, 16, 16]), torch.Size([2, 1, 4, 4]))
    """
    spec, own = named(Generator, name), named(Discriminator, judge)
    assert isinstance(spec, UNet)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net, patches = Unet(spec), Patches(own)
        _fresh(net)
        _fresh(patches)
    return net, patches
