"""How near generated pictures come to the true ones, each and as a set; how sharp they are."""

from __future__ import annotations

import torch
from torch import Tensor

from rgkit.data.augment import Augmenter
from rgkit.models.classification import own_features
from rgkit.models.layout import channels_last

WINDOW, DEVIATION = 11, 1.5  # of SSIM's Gaussian window, in pixels (Wang et al. 2004)


def psnr(made: Tensor, true: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each picture, in dB; 100 for an exact copy.

    Parameters
    ----------
    made, true : [pictures, channels, height, width], from 0 to 1

    >>> psnr(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.1)).round(decimals=3).item()
    20.0
    """
    error = (made - true).double().square().mean((1, 2, 3))
    return -10 * error.clamp(min=1e-10).log10()


def _window(like: Tensor, size: int) -> Tensor:
    """The Gaussian window at each of its places along `size` pixels, [size, places].

    On a CPU a product with this matrix takes a ninth of the time of a convolution.
    """
    at = torch.arange(WINDOW, dtype=like.dtype, device=like.device) - WINDOW // 2
    bell = torch.exp(-((at / DEVIATION) ** 2) / 2)
    pixel = torch.arange(size, device=like.device)
    inside = pixel[:, None] - pixel[: size - WINDOW + 1]
    weights = (bell / bell.sum())[inside.clamp(0, WINDOW - 1)]
    return weights.where((inside >= 0) & (inside < WINDOW), 0.0)


def ssim(made: Tensor, true: Tensor) -> Tensor:
    """Return the structural similarity of each picture, as Wang et al. 2004 have it; 1 for a copy.

    Means, variances and the covariance are those under a Gaussian window, wherever it lies wholly
    in the picture, channel by channel. ValueError for pictures that are smaller than the window.

    Parameters
    ----------
    made, true : [pictures, channels, height, width], from 0 to 1

    >>> picture = torch.rand(2, 3, 16, 16)
    >>> ssim(picture, picture).tolist()
    [1.0, 1.0]
    """
    height, width = made.shape[-2:]
    if min(height, width) < WINDOW:
        raise ValueError(f"pictures of {height}x{width} given; SSIM's window is {WINDOW} wide")
    a, b = made.double(), true.double()
    planes = torch.stack([a, b, a * a, b * b, a * b])
    planes = _window(planes, height).mT @ planes @ _window(planes, width)
    mean_a, mean_b, aa, bb, ab = planes
    var_a, var_b, cov = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    alike = alike / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return torch.mean(alike, (1, 2, 3))


def edges(pictures: Tensor) -> Tensor:
    """Return the mean size of the gradient of each picture's brightness, per pixel.

    Parameters
    ----------
    pictures : [pictures, channels, height, width]

    >>> ramp = torch.arange(4.0).expand(1, 3, 4, 4)
    >>> edges(ramp).item()
    1.0
    """
    gray = pictures.double().mean(1)
    dy = gray[:, 1:, :-1] - gray[:, :-1, :-1]
    dx = gray[:, :-1, 1:] - gray[:, :-1, :-1]
    return (dy**2 + dx**2).sqrt().mean((1, 2))


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
    """Our network on a device, by whose features pictures are compared.

    Parameters
    ----------
    where : device

    Examples
    --------
    >>> Features()(torch.rand(2, 3, 16, 16)).shape
    torch.Size([2, 128])
    """

    def __init__(self, where: torch.device | str = "cpu") -> None:
        self.net = channels_last(own_features(), where, torch.float32)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return features [batch, features] of pictures from 0 to 1, whatever their precision."""
        found: Tensor = self.net(pictures.float())
        return found

    def of(self, targets: Augmenter, batch: int = 16) -> Tensor:
        """Return the features of all pictures of a split, which are handed out from -1 to 1."""
        index = torch.arange(len(targets), device=targets.images.device)
        return torch.cat([self((targets.plain(part) + 1) / 2) for part in index.split(batch)])
