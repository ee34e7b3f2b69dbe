"""How near generated pictures come to the true ones, and how sharp they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rgkit.data.augment import Augmenter
from rgkit.tasks.kernel_distance import Features, kernel_distance

WINDOW, DEVIATION = 11, 1.5  # of SSIM's Gaussian window, in pixels (Wang et al. 2004)
MEASURED = ("l1", "psnr", "ssim", "sharpness", "kid")
LENGTHS = ("generator_step", "discriminator_step")  # see `rgkit.tasks.adversarial.length`


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


@torch.inference_mode()
def evaluate_pairs(
    net: nn.Module,
    inputs: Augmenter,
    targets: Augmenter,
    autocast: bool,
    batch: int = 16,
    features: Features | None = None,
) -> tuple[Tensor, ...]:
    """Return what `MEASURED` names of a split, on the device.

    Parameters
    ----------
    net : module from pictures to pictures between -1 and 1; it is left in evaluation mode, in which
        nothing is dropped, so that the numbers have no chance in them
    inputs, targets : the split
    features : by which the pictures are compared as a set; None saves their cost, at `quick` some
        5 % of an epoch, and the distance is NaN

    Returns
    -------
    float64 tensors of shape []: the mean absolute difference in percent of the range, PSNR in dB
    and SSIM in percent as means over pictures, the mean gradient in percent of the targets', and
    the kernel distance of the features times 1,000, as is usual
    """
    net.eval()
    where = targets.images.device
    seen = list[Tensor]()
    sums = torch.zeros(5, dtype=torch.float64, device=where)
    for index in torch.arange(len(targets), device=where).split(batch):
        x = inputs.plain(index)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
            found = net(x)
        made, true = (found.to(x.dtype) + 1) / 2, (targets.plain(index) + 1) / 2
        off = (made - true).abs().double().mean((1, 2, 3))
        every = off, psnr(made, true), ssim(made, true), edges(made), edges(true)
        sums += torch.stack(every).sum(1)
        seen += [features(made)] if features else []
    l1, noise, alike, mine, theirs = (sums / len(targets)).unbind()
    far = torch.full_like(l1, torch.nan)
    if features:
        far = kernel_distance(torch.cat(seen), features.of(targets))
    return 100 * l1, noise, 100 * alike, 100 * mine / theirs, 1000 * far
