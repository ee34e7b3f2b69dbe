"""How far generated pictures are from the true ones by the features of a network."""

from __future__ import annotations

import torch
from torch import Tensor

from rgkit.data.augment import Augmenter
from rgkit.models.features import network
from rgkit.models.layout import channels_last


def kernel_distance(made: Tensor, true: Tensor) -> Tensor:
    """Return the kernel inception distance of paired pictures, of their features (KID).

    The squared maximum mean discrepancy of Bińkowski et al. 2018 (arXiv 1801.01401) with their
    kernel, (x·y / features + 1)³. A generated picture and the true one have the same input, so
    they are no independent draws; then the estimate is free of bias if the kernel of a picture
    with its own pair is left out, too (Gretton et al. 2012, equation 4). So a copy of every
    picture is at 0, and a good generator can be a little below.

    Parameters
    ----------
    made, true : [pictures, features], row by row of the same inputs

    Returns
    -------
    float64 of shape []; NaN for a single picture. ValueError where the two differ in shape.

    Examples
    --------
    >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> kernel_distance(x, x).item(), kernel_distance(x, x + 1).item()
    (0.0, 21.25)
    """
    if made.shape != true.shape:
        given = f"features of {tuple(made.shape)} and {tuple(true.shape)} given"
        raise ValueError(f"{given}; a row of each for every picture")
    a, b = made.double(), true.double()
    count, width = a.shape
    if count < 2:
        return torch.full_like(a.sum(), torch.nan)
    aa, bb, ab = ((x @ y.T / width + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    pairs = aa + bb - ab - ab.T
    return (pairs.sum() - pairs.trace()) / (count * (count - 1))


class Features:
    """A network on a device, by whose features pictures are compared.

    Parameters
    ----------
    name : see `rgkit.models.features.network`
    where : device

    Examples
    --------
    >>> Features()(torch.rand(2, 3, 16, 16)).shape
    torch.Size([2, 128])
    """

    def __init__(self, name: str = "", where: torch.device | str = "cpu") -> None:
        self.net = channels_last(network(name), where, torch.float32)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return features [batch, features] of pictures from 0 to 1, whatever their precision."""
        found: Tensor = self.net(pictures.float())
        return found

    def of(self, targets: Augmenter, batch: int = 16) -> Tensor:
        """Return the features of all pictures of a split, which are handed out from -1 to 1."""
        index = torch.arange(len(targets), device=targets.images.device)
        return torch.cat([self((targets.plain(part) + 1) / 2) for part in index.split(batch)])
