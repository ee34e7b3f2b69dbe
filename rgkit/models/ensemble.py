"""Networks side by side: what branches would be that share no kernel."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


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
