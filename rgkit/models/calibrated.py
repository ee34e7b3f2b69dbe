"""The gradient calibration (GC) layer of Calibrated SGD, and Algorithm 1, which trains it.

A GC layer has one kernel w and K matrices R_k of the kernel's height and width. Its K branches do
not meet: branch k of the features is convolved with ``R_k * w``. So a network of GC layers is K
networks side by side that share their kernels, up to R, and have norms of their own. `SideBySide`
are networks that share nothing at all.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from rgkit.data.compat import convolve
from rgkit.models.names import GC


class GCConv2d(nn.Module):
    """K branches of a convolution that share its kernel (CSGD eqs. 3 and 4).

    Parameters
    ----------
    conv : the convolution whose kernel w [out, in, height, width], stride and so on it takes
    spec : branches, readings of the paper, and rates, see `rgkit.models.names.GC`

    Attributes
    ----------
    weight : w
    R : [K, height, width], not negative, and one at every place when summed over the branches

    Examples
    --------
    >>> layer = GCConv2d(nn.Conv2d(3, 5, 3, padding=1, bias=False), GC(branches=4))
    >>> layer(torch.zeros(2, 4 * 3, 8, 8)).shape, layer.R.shape
    (torch.Size([2, 20, 8, 8]), torch.Size([4, 3, 3]))
    """

    def __init__(self, conv: nn.Conv2d, spec: GC) -> None:
        super().__init__()
        if conv.padding_mode != "zeros":
            given = f"padding_mode={conv.padding_mode!r} given"
            raise ValueError(f"{given}; a GC layer pads with zeros")
        self.spec, self.weight, self.bias = spec, conv.weight, conv.bias
        self.R = nn.Parameter(torch.rand(spec.branches, *conv.weight.shape[2:]))
        self._normalise()
        self.options = conv.stride, conv.padding, conv.dilation, spec.branches * conv.groups

    def kernels(self) -> Tensor:
        """Return H_k = R_k * w of all branches, [K * out, in, height, width].

        By the chain rule the gradient of w is the sum of ``R_k * dF/dH_k``. Equation 2, read as it
        stands, multiplies by R_k once more; ``reading="again"`` does so, with the same H.
        """
        r = self.R[:, None, None]
        if self.spec.reading == "chain":
            return (r * self.weight).flatten(0, 1)
        held = self.weight.detach()
        return (r * held + r.detach().square() * (self.weight - held)).flatten(0, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Convolve features [batch, K * in, height, width], all branches at once."""
        bias = None if self.bias is None else self.bias.repeat(self.spec.branches)
        return convolve(features, self.kernels(), bias, *self.options)

    @torch.no_grad()
    def calibrate(self) -> None:
        """Update R and add the noise, lines 6 to 8 of Algorithm 1, after a step of w.

        The paper adds ``l * dF/dR``, which climbs the loss; ``sign="descent"`` takes it away.
        """
        if self.R.grad is not None and self.spec.rate:
            way = self.spec.rate if self.spec.sign == "ascent" else -self.spec.rate
            self.R.add_(self.R.grad, alpha=way)
            self._normalise()
        self.R.grad = None  # no optimizer has it among its own
        if self.spec.noise:
            self.weight.add_(torch.randn_like(self.weight), alpha=self.spec.noise)

    @torch.no_grad()
    def _normalise(self) -> None:
        self.R.abs_()
        self.R.div_(self.R.sum(0).clamp_min(torch.finfo(self.R.dtype).tiny))


class _MeanOfBranches(nn.Unflatten):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).mean(1)


class Calibrated(nn.Module):
    """A network whose convolutions are GC layers: the images go into every branch.

    Parameters
    ----------
    net : module from images to logits; it is copied
    spec : see `GCConv2d`

    Batch norms get scale, shift and statistics for every branch. Before the first linear layer the
    branches are put side by side (``join="concat"``: it is made anew, K times as wide) or averaged
    (``join="mean"``). Raises ValueError for a layer that has parameters and is none of these.

    Examples
    --------
    >>> plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ...                       nn.Linear(8, 10))
    >>> Calibrated(plain, GC(branches=2))(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 10])
    """

    def __init__(self, net: nn.Module, spec: GC) -> None:
        super().__init__()
        self.branches = spec.branches
        self.net = _converted(nn.Sequential(copy.deepcopy(net)), spec)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images [batch, 3, height, width]."""
        # Not `repeat`, which forgets that the channels come last: three times as slow.
        logits: Tensor = self.net(torch.cat([images] * self.branches, 1))
        return logits


def _converted(net: nn.Module, spec: GC) -> nn.Module:
    joined = False
    for name, module in list(net.named_modules()):
        own = list(module.parameters(recurse=False))
        if not own:
            continue
        if isinstance(module, nn.Conv2d):
            made: nn.Module = GCConv2d(module, spec)
        elif isinstance(module, nn.BatchNorm2d):
            made = _norm(module, spec.branches)
        elif isinstance(module, nn.Linear):
            made, joined = module if joined else _join(module, spec), True
        else:
            kind = type(module).__name__
            raise ValueError(f"layer {name} is a {kind}; branches are known for Conv2d, "
                             "BatchNorm2d and Linear")  # fmt: skip
        parent, _, last = name.rpartition(".")
        setattr(net.get_submodule(parent), last, made)
    return net


def _norm(norm: nn.BatchNorm2d, branches: int) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(norm.num_features * branches, norm.eps, norm.momentum)
    with torch.no_grad():
        made.weight.copy_(norm.weight.repeat(branches))
        made.bias.copy_(norm.bias.repeat(branches))
    return made


def _join(linear: nn.Linear, spec: GC) -> nn.Module:
    if spec.branches == 1:
        return linear
    if spec.join == "mean":
        return nn.Sequential(_MeanOfBranches(1, (spec.branches, -1)), linear)
    wide = spec.branches * linear.in_features
    return nn.Linear(wide, linear.out_features, linear.bias is not None)


class SideBySide(nn.Module):
    """Networks that see the same images, share nothing and answer with the mean of their logits.

    Trained together, on the loss of that mean: each learns what the others leave over. It is what
    the printed sizes of CSGD's Table 2 count as a network in branches.

    Parameters
    ----------
    nets : modules from images [batch, 3, height, width] to logits [batch, classes]

    Raises ValueError without any.

    Examples
    --------
    >>> pair = SideBySide([nn.Linear(4, 10), nn.Linear(4, 10)])
    >>> pair(torch.zeros(2, 4)).shape
    torch.Size([2, 10])
    """

    def __init__(self, nets: Iterable[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)
        if not self.nets:
            raise ValueError("no networks given; at least one has to answer")

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images [batch, 3, height, width]."""
        return torch.stack([net(images) for net in self.nets]).mean(0)


def gc_layers(net: nn.Module) -> list[GCConv2d]:
    """Return the GC layers of a network, in order."""
    return [module for module in net.modules() if isinstance(module, GCConv2d)]


def optimized(net: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that an optimizer moves: all but the R of GC layers.

    >>> len(optimized(nn.Linear(3, 2)))
    2
    """
    calibrated = {id(layer.R) for layer in gc_layers(net)}
    return [p for p in net.parameters() if id(p) not in calibrated]


def calibrate_after(optimizer: torch.optim.Optimizer, net: nn.Module) -> None:
    """Have every step of the optimizer followed by the update of R in the network's GC layers."""
    layers = gc_layers(net)

    def calibrate(*_: object) -> None:
        for layer in layers:
            layer.calibrate()

    if layers:
        optimizer.register_step_post_hook(calibrate)
