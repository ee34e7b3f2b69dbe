"""What a network costs: its parameters, and its multiply-accumulates for one image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rgkit.models.calibrated import gc_layers
from rgkit.models.classification import build


@dataclass(frozen=True)
class Cost:
    """Parameters without R, as CSGD counts them; those in R; multiply-accumulates an image."""

    parameters: int
    in_r: int
    macs: int


@cache
def cost(model: str, size: int = 32, classes: int = 10) -> Cost:
    """Count a network by name, on one image of size x size, by PyTorch's own counter.

    Convolutions and linear layers are counted, not norms, nor the products R * w, which a layer
    forms once for a whole batch.

    >>> cost("resnet8(16)").parameters
    78042
    >>> cost("gc(4, base='resnet8(16)')").macs / cost("resnet8(16)").macs
    4.0
    """
    with torch.device("meta"):
        return count(build(model, classes), size)


def count(net: nn.Module, size: int) -> Cost:
    """Count a network that lies on the device "meta"."""
    image = torch.zeros(1, 3, size, size, device="meta")
    net.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(image)
    in_r = sum(layer.R.numel() for layer in gc_layers(net))
    total = sum(p.numel() for p in net.parameters())
    return Cost(total - in_r, in_r, counter.get_total_flops() // 2)
