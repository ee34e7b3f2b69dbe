"""Decaying the loss against decaying the learning rate: what differs, step by step, in float64.

The pages on Adam use it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import lfilter

Array = NDArray[np.float64]
RATE = 0.1  # of the walks, before any decay


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


def walk(
    acts: Literal["rate", "loss"],
    factor: Sequence[float] | Array,
    *,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    seed: int = 0,
) -> Array:
    """Train a small network on the embedded digits in float64, decaying the rate or the loss.

    Parameters
    ----------
    acts : where the factor is multiplied in
    factor : [steps]
    decoupled : weight decay beside the step, as in SGDW, at the rate that is not decayed

    Returns
    -------
    float64 [steps + 1, weights], the first fresh; one seed has the same ones and the same batches
    whatever else is given
    """
    if acts not in ("rate", "loss"):
        raise ValueError(f"acts={acts!r} given; it is 'rate' or 'loss'")
    import torch
    from torch.nn.functional import cross_entropy

    from rgkit.data import images
    from rgkit.train.device import reproducible
    from rgkit.train.step import backward

    found = images.load("digits")
    x = torch.from_numpy(found.train.images[:512]).double().flatten(1) / 255
    y = torch.from_numpy(found.train.targets[:512])
    vector = torch.nn.utils.parameters_to_vector
    with reproducible(seed):
        net = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], 16), torch.nn.Tanh(), torch.nn.Linear(16, 10)
        ).double()
        places = [vector(net.parameters()).detach().numpy()]
        coupled = 0.0 if decoupled else weight_decay
        sgd = torch.optim.SGD(net.parameters(), RATE, momentum, weight_decay=coupled)
        for f in map(float, factor):
            batch = torch.randint(len(y), (64,))
            loss = cross_entropy(net(x[batch]), y[batch])
            sgd.zero_grad()
            backward(loss, f if acts == "loss" else None)
            sgd.param_groups[0]["lr"] = RATE * f if acts == "rate" else RATE
            if decoupled:
                torch._foreach_mul_([p.data for p in net.parameters()], 1 - RATE * weight_decay)
            sgd.step()
            places.append(vector(net.parameters()).detach().numpy())
    return np.stack(places)


def apart(a: Array, b: Array) -> Array:
    """Return the distance of two walks after each step, relative to how far the first has come."""
    gone = np.linalg.norm(a - a[0], axis=1)[1:]
    return np.asarray(np.linalg.norm(a - b, axis=1)[1:] / gone, np.float64)
