"""Decaying the loss against decaying the learning rate: what differs, step by step, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import lfilter

Array = NDArray[np.float64]
Acts = Literal["rate", "loss"]


def applied(weights: ArrayLike, momentum: float) -> Array:
    """Return how much of a constant gradient SGD applies at each step of a weighted loss.

    The velocity keeps each gradient with the weight that the loss had when it came in, so what is
    applied is an average over about 1/(1-momentum) earlier weights: the curve of the weights, late
    by `delay` steps. A learning rate acts when the velocity goes out and is never late.

    Parameters
    ----------
    weights : [steps], the loss weight of each step
    momentum : from 0 up to below 1

    Returns
    -------
    float64 [steps], relative to what a loss weight of 1 applies in the end

    Examples
    --------
    >>> applied([1.0, 1.0, 1.0], 0.5).tolist()
    [0.5, 0.75, 0.875]
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum={momentum} given; it is from 0 up to below 1")
    w = np.asarray(weights, float)
    return np.asarray(lfilter([1 - momentum], [1, -momentum], w), np.float64)


def delay(momentum: float) -> float:
    """Return the mean age in steps of what the velocity holds.

    >>> round(delay(0.95), 9)
    19.0
    """
    return momentum / (1 - momentum)


def shrink(rates: ArrayLike, weight_decay: float, momentum: float = 0.0) -> float:
    """Return what weight decay alone leaves of a weight after all steps.

    Parameters
    ----------
    rates : [steps], the learning rate of each step; a decayed loss leaves it as it is

    >>> round(shrink([0.1] * 100, 0.01), 4)
    0.9048
    """
    w, v = 1.0, 0.0
    for rate in np.asarray(rates, float).tolist():
        v = momentum * v + weight_decay * w
        w -= rate * v
    return w


def adam_steps(
    weights: ArrayLike,
    *,
    noise: float = 0.0,
    paths: int = 1,
    betas: tuple[float, float] = (0.9, 0.999),
    seed: int = 0,
) -> Array:
    """Return the mean step that Adam takes, in units of its learning rate, for a weighted loss.

    The gradient is 1 plus normal noise, on many paths at once; the same seed gives the same noise
    whatever the weights, so that laws can be compared pair by pair.

    Parameters
    ----------
    weights : [steps] or [steps, paths]
    noise : standard deviation of the gradient beside its mean of 1

    Returns
    -------
    float64 [steps], averaged over the paths
    """
    w = np.asarray(weights, float)
    w = np.broadcast_to(w[:, None] if w.ndim == 1 else w, (len(w), paths))
    draw = np.random.default_rng(seed)
    m, v, mean = np.zeros(paths), np.zeros(paths), np.empty(len(w))
    for t, u in enumerate(w, 1):
        g = u * (1 + noise * draw.standard_normal(paths))
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        step = m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + 1e-30)
        mean[t - 1] = step.mean()
    return mean


class Walk(NamedTuple):
    """A training run: loss [steps] before each step; weights [steps + 1, all], the first fresh."""

    loss: Array
    weights: Array


def walk(
    acts: Acts,
    factor: Sequence[float] | Array,
    *,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    rate: float = 0.1,
    seed: int = 0,
) -> Walk:
    """Train a small network on the embedded digits in float64, decaying the rate or the loss.

    Parameters
    ----------
    acts : "rate" or "loss"
        Where the factor is multiplied in.
    factor : [steps]
    decoupled : bool
        Weight decay beside the step, as in SGDW, here at the rate that is not decayed.

    Returns
    -------
    Walk; for one seed the same weights at the start and the same batches whatever is given
    """
    if acts not in ("rate", "loss"):
        raise ValueError(f"acts={acts!r} given; it is 'rate' or 'loss'")
    import torch
    from torch.nn.functional import cross_entropy

    from rgkit import data
    from rgkit.train.device import reproducible

    found = data.load("digits")
    x = torch.from_numpy(found.train_images[:512]).double().flatten(1) / 255
    y = torch.from_numpy(found.train_labels[:512])
    vector = torch.nn.utils.parameters_to_vector
    with reproducible(seed):
        net = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], 16), torch.nn.Tanh(), torch.nn.Linear(16, 10)
        ).double()
        losses, places = [], [vector(net.parameters()).detach().numpy()]
        coupled = 0.0 if decoupled else weight_decay
        sgd = torch.optim.SGD(net.parameters(), rate, momentum, weight_decay=coupled)
        for f in factor:
            batch = torch.randint(len(y), (64,))
            loss = cross_entropy(net(x[batch]), y[batch])
            sgd.zero_grad()
            (float(f) * loss if acts == "loss" else loss).backward()
            sgd.param_groups[0]["lr"] = rate * float(f) if acts == "rate" else rate
            if decoupled:
                with torch.no_grad():
                    for p in net.parameters():
                        p.mul_(1 - rate * weight_decay)
            sgd.step()
            losses.append(loss.item())
            places.append(vector(net.parameters()).detach().numpy())
    return Walk(np.array(losses), np.stack(places))


def apart(a: Walk, b: Walk) -> Array:
    """Return the distance of two walks after each step, relative to how far the first has come."""
    gone = np.linalg.norm(a.weights - a.weights[0], axis=1)[1:]
    return np.asarray(np.linalg.norm(a.weights - b.weights, axis=1)[1:] / gone, np.float64)
