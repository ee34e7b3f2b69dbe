"""pix2pix: two networks, two losses, and which of them u multiplies."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from rgkit.data import pictures as datasets
from rgkit.data.augment import Augmenter, Plan
from rgkit.data.compat import channels_last
from rgkit.data.source import Dataset
from rgkit.method import laws
from rgkit.models.classification import own_features
from rgkit.models.translation import build
from rgkit.runs.config import Translation
from rgkit.runs.records import KEPT, pack, stops
from rgkit.train.device import DTYPES
from rgkit.train.loop import Split, Task, splits
from rgkit.train.step import PlainStep, descend, forward, make_optimizer, predictions

MEASURED = ("l1", "psnr", "ssim", "sharpness", "kid")
LENGTHS = ("generator_step", "discriminator_step")  # see `length`
SECOND = 2**32  # added to the seed of a run for the second draw: no run has it as its own


def _load(
    data: str, size: int, augment: str, direction: str, precision: str
) -> tuple[Dataset, Callable[..., Split]]:
    """Inputs and targets between -1 and 1."""
    margin = datasets.margin_of(size) if "crop" in augment else 0

    def made(inputs: Tensor, targets: Tensor) -> Split:
        spare = (inputs.shape[-1] - size) // 2  # pictures to test on have no margin
        look = (0.5,) * 3, (0.5,) * 3, spare, DTYPES[precision], True
        return Augmenter(inputs, *look), Augmenter(targets, *look)

    return datasets.load_pairs(data, size, margin, direction), made


def judgement(judged: Tensor, real: bool, kind: str) -> Tensor:
    """Return the mean loss of judgements that should have said `real`.

    Parameters
    ----------
    judged : of any shape; 1 says real and 0 made (least squares), or logits (cross-entropy)
    kind : "least squares" or "cross-entropy"

    >>> judgement(torch.tensor([1.0, 0.0]), True, "least squares").item()
    0.5
    """
    wanted = torch.full_like(judged, float(real))
    loss = mse_loss if kind == "least squares" else binary_cross_entropy_with_logits
    return loss(judged, wanted)


def two_weights(config: Translation, u: np.ndarray, epoch: int) -> np.ndarray:
    """Return the loss weights of the generator and of the discriminator in an epoch, [2, steps].

    Parameters
    ----------
    u : [steps], of the steps of the epoch, as the run's law drew them
    epoch : its number in the run, from 0
    """
    if config.acts_on != "both, two draws":
        ones = np.ones_like(u)
        mine = ones if config.acts_on == "discriminator" else u
        return np.stack([mine, ones if config.acts_on == "generator" else u])
    steps = np.arange((epoch + 1) * len(u))  # from the start of the run
    drawn = laws.law(config.weight).draw(
        steps, per_epoch=len(u), epochs=config.epochs, seed=config.seed + SECOND
    )
    return np.stack([u, drawn[-len(u) :]])


def length(params: list[Tensor], before: list[Tensor], lr: float) -> Tensor:
    """Return the root mean square step of all parameters, in units of the learning rate.

    Under Adam it is 1 for a gradient that does not change.

    >>> length([torch.ones(2)], [torch.tensor([0.9, 1.1])], 0.1).round(decimals=4).item()
    1.0
    """
    moved = torch._foreach_norm(torch._foreach_sub(params, before))
    count = sum(p.numel() for p in params)
    return torch.stack(list(moved)).double().square().sum().div(count).sqrt() / (lr or 1.0)


class PairStep(PlainStep):
    """pix2pix as a user would write it, the generator's step first, as RG's code has it.

    Both steps see the same pictures, which the generator made before its own step.
    """

    last = False  # as its records were made

    def __init__(self, config: Translation, inputs: Augmenter, targets: Augmenter) -> None:
        net, judge = build(config.model, config.judge, seed=config.seed)
        super().__init__(config, net, inputs, targets)
        self.judge: nn.Module = judge.to(inputs.where, DTYPES[config.precision])
        self.second = make_optimizer(config, self.judge)
        self.optimizers.append(self.second)
        self.parts |= {"judge": self.judge, "second": self.second}
        self.pair = config
        self.moved = list[Tensor]()
        self.params = [[p.detach() for p in n.parameters()] for n in (self.net, self.judge)]

    def epoch(
        self, plan: Plan, lr: np.ndarray, u: np.ndarray, number: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Train one epoch, a batch at a time.

        Returns
        -------
        the generator's losses [steps], unweighted, and for how many pictures of each batch the
        discriminator was right, each by its part of right patches
        """
        self.judge.train()
        self.moved = []
        found = super().epoch(plan, lr, two_weights(self.pair, u, number).T, number)
        self.own = tuple(torch.stack(self.moved).view(-1, 2).square().mean(0).sqrt())
        return found

    def take(self, images: Tensor, labels: Tensor, u: Any) -> tuple[Tensor, Tensor]:
        """Take both steps on a batch; u has a weight for each, see `two_weights`."""
        before = [[p.clone() for p in params] for params in self.params]
        loss, made = self._generate(images, labels, u[0])
        right = len(images) * self._tell_apart(images, labels, made, u[1])
        lr = self.optimizer.param_groups[0]["lr"]
        for params, old in zip(self.params, before, strict=True):
            self.moved.append(length(params, old, lr))
        return loss, right

    def _generate(self, x: Tensor, y: Tensor, u: float) -> tuple[Tensor, Tensor]:
        """Take the generator's step; return its loss and what it had made."""
        self.judge.requires_grad_(False)  # what it learns from is the other step
        made = forward(self.net, x, self.autocast)
        judged = forward(functools.partial(self.judge, made), x, self.autocast)
        made = made.to(x.dtype)
        loss = judgement(judged.to(x.dtype), True, self.pair.adversarial)
        loss = loss + self.pair.lambda_l1 * (made - y).abs().mean()
        descend(self.optimizer, loss, u)
        self.judge.requires_grad_(True)
        return loss.detach(), made.detach()

    def _tell_apart(self, x: Tensor, y: Tensor, made: Tensor, u: float) -> Tensor:
        """Take the discriminator's step; return the part of patches that it told right."""
        real, fake = (
            forward(functools.partial(self.judge, shown), x, self.autocast).to(x.dtype)
            for shown in (y, made)
        )
        loss = (
            judgement(real, True, self.pair.adversarial)
            + judgement(fake, False, self.pair.adversarial)
        ) / 2
        descend(self.second, loss, u)
        border = 0.5 if self.pair.adversarial == "least squares" else 0.0
        told = [(real.detach() > border).double(), (fake.detach() < border).double()]
        return torch.stack(told).mean()


@torch.inference_mode()
def evaluate(
    net: nn.Module,
    inputs: Augmenter,
    targets: Augmenter,
    autocast: bool,
    batch: int = 16,
    features: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, ...]:
    """Return what `MEASURED` names of a split, on the device.

    Parameters
    ----------
    net : module from pictures to pictures between -1 and 1; it is left in evaluation mode, in which
        nothing is dropped, so that the numbers have no chance in them
    inputs, targets : the split
    features : of pictures from 0 to 1, by which they are compared as a set; None saves their cost,
        at `quick` some 5 % of an epoch, and the distance is NaN

    Returns
    -------
    float64 tensors of shape []: the mean absolute difference in percent of the range, PSNR in dB
    and SSIM in percent as means over pictures, the mean gradient in percent of the targets', and
    the kernel distance of the features times 1,000, as is usual
    """
    seen, wanted = list[Tensor](), list[Tensor]()
    sums = torch.zeros(5, dtype=torch.float64, device=targets.where)
    for index, x, found in predictions(net, inputs, autocast, batch):
        made, true = (found.to(x.dtype) + 1) / 2, (targets.plain(index) + 1) / 2
        off = (made - true).abs().double().mean((1, 2, 3))
        every = off, psnr(made, true), ssim(made, true), edges(made), edges(true)
        sums += torch.stack(every).sum(1)
        if features:
            seen.append(features(made.float()))
            wanted.append(features(true.float()))
    l1, noise, alike, mine, theirs = (sums / len(targets)).unbind()
    far = torch.full_like(l1, torch.nan)
    if features:
        far = kernel_distance(torch.cat(seen), torch.cat(wanted))
    return 100 * l1, noise, 100 * alike, 100 * mine / theirs, 1000 * far


@torch.inference_mode()
def made_pictures(
    net: nn.Module, inputs: Augmenter, targets: Augmenter, autocast: bool
) -> list[str]:
    """Return what a generator makes of the first inputs of a split, see `rgkit.runs.records`.

    Parameters
    ----------
    net : module from pictures to pictures between -1 and 1; it is left in evaluation mode
    inputs, targets : the split
    """
    _, _, made = next(predictions(net, inputs, autocast, KEPT))
    level = (127.5 * (made.float() + 1)).round().clamp(0, 255).to("cpu", torch.uint8)
    return [pack(each) for each in level.permute(0, 2, 3, 1).contiguous().numpy()]


def _compared(config: Translation, where: torch.device) -> dict[str, Any]:
    return {"features": channels_last(own_features(), where, torch.float32)}


TASK = Task(
    MEASURED, functools.partial(splits, _load),
    lambda kind, config, classes, *split: PairStep(config, *split), evaluate, own=LENGTHS,
    samples=made_pictures, along=stops, options=_compared,
)  # fmt: skip


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
