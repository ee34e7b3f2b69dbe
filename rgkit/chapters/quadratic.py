"""Gradient descent with a random loss weight on a quadratic: simulation and exact theory.

One mode of curvature h obeys, for learning rate η, momentum α, weight decay λ, weight u and
gradient noise ε of standard deviation s (the paper's Equations 3 and 4),

    v ← α v + u (h (x − target) + s ε) + λ x,    x ← x − η v.

A diagonal Hessian loses nothing, since the recursion commutes with rotations. The theory, for
λ = 0 (predictions 1 to 5), needs the rate y = ηh, a pure number, and m1 = E u, m2 = E u².
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import lfilter

Array = NDArray[np.float64]

#: (m1, m2) of the loss weight in each arm of the comparison.
ARMS = {"plain": (1.0, 1.0), "constant 1/2": (0.5, 0.25), "RG": (0.5, 1.0 / 3.0)}


class Stationary(NamedTuple):
    """Mean squares at stationarity, of h·x and of one step times h, in units of s²."""

    distance: Array
    step: Array


def _check(momentum: ArrayLike = 0.0, m1: float = 1.0, m2: float = 1.0) -> Array:
    alpha = np.asarray(momentum, dtype=np.float64)
    if not (alpha >= 0).all() or (alpha >= 1).any():
        raise ValueError(f"momentum={momentum!r}: must lie in [0, 1), e.g. 0.9")
    if not (m1 > 0 and m2 >= m1 * m1 * (1 - 1e-12)):
        raise ValueError(f"m1={m1!r}, m2={m2!r}: need m1 > 0 and m2 >= m1², e.g. 1/2 and 1/3")
    return alpha


def arm_weights(arm: str, steps: int, paths: int, seed: int) -> Array:
    """Weights u [steps, paths] of one arm of `ARMS`; RG draws them from U(0, 1).

    >>> arm_weights("constant 1/2", 2, 3, seed=0).tolist()
    [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
    """
    if arm not in ARMS or steps < 1 or paths < 1:
        raise ValueError(f"{arm=}, {steps=}, {paths=}: need one of {tuple(ARMS)}, and 1 or more")
    if arm == "RG":
        return np.random.default_rng(seed).random((steps, paths))
    return np.full((steps, paths), ARMS[arm][0])


def descend(
    start: ArrayLike, curvature: ArrayLike, lr: float, weights: ArrayLike, *,
    momentum: ArrayLike = 0.0, weight_decay: float = 0.0, noise: float = 0.0,
    target: ArrayLike = 0.0, seed: int = 0,
) -> Array:  # fmt: skip
    """Trajectories [steps + 1, paths, dim] of all paths at once (Equations 3 and 4, with u).

    `weights` is [steps, paths], `noise` is s; `start`, `curvature`, `target` and `momentum`
    broadcast to [dim], so one call can sweep learning rates (as curvatures) or momenta.

    >>> descend([1.0], [1.0], 1.5, [[1.0], [1.0]])[:, 0, 0].tolist()
    [1.0, -0.5, 0.25]
    """
    alpha, u = _check(momentum), np.asarray(weights, dtype=np.float64)
    if u.ndim != 2:
        raise ValueError(f"weights has shape {u.shape}: must be [steps, paths]")
    if lr < 0 or weight_decay < 0 or noise < 0:
        raise ValueError(f"{lr=}, {weight_decay=}, {noise=}: none may be negative")
    first, h, goal, alpha = np.broadcast_arrays(np.atleast_1d(start), curvature, target, alpha)
    x = np.empty((len(u) + 1, u.shape[1], len(first)))
    x[0], v = first, np.zeros_like(x[0])
    draw = np.random.default_rng(seed)
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging path ends as inf or nan
        for t, weight in enumerate(u[:, :, None]):
            gradient = h * (x[t] - goal)
            if noise:
                gradient += noise * draw.standard_normal(v.shape)
            v = alpha * v + weight * gradient + weight_decay * x[t]
            x[t + 1] = x[t] - lr * v
    return x


def velocity(weights: ArrayLike, momentum: float) -> Array:
    """Velocity [steps, paths] under a gradient that stays at 1: v ← α v + u from v = 0.

    >>> velocity([[1.0], [1.0], [0.0]], 0.5).ravel().tolist()
    [1.0, 1.5, 0.75]
    """
    return np.asarray(lfilter([1.0], [1.0, -float(_check(momentum))], weights, axis=0))


def velocity_noise(momentum: ArrayLike) -> Array:
    """Relative variance of the velocity over that of u: (1 − α)/(1 + α) (prediction 2).

    >>> [round(1 / float(velocity_noise(a))) for a in (0.5, 0.95)]
    [3, 39]
    """
    alpha = _check(momentum)
    return np.asarray((1 - alpha) / (1 + alpha))


def gradient_covariance(mean: ArrayLike, covariance: ArrayLike, m1: float, m2: float) -> Array:
    """Cov(u g) [dim, dim] = m2 Cov(g) + Var(u) ḡ ḡᵀ, for ḡ = `mean` [dim] (prediction 3).

    >>> gradient_covariance([2.0], [[3.0]], 1 / 2, 1 / 3).round(6).tolist()  # 3/3 + 4/12
    [[1.333333]]
    """
    _check(0.0, m1, m2)
    g = np.asarray(mean, dtype=np.float64)
    return np.asarray(m2 * np.asarray(covariance) + (m2 - m1 * m1) * np.outer(g, g))


def growth(rate: ArrayLike, m1: float, m2: float, momentum: float = 0.0) -> Array:
    """Factor per step of the root-mean-square distance at each rate ηh; stable below 1.

    The root of the spectral radius of the map of (E xx, E xv, E vv), exact for any law of u;
    without momentum √(1 − 2 m1 y + m2 y²) (predictions 4 and 5).

    >>> growth([1.5, 3.0], 1 / 2, 1 / 3).round(6).tolist()
    [0.5, 1.0]
    """
    a, y = float(_check(momentum, m1, m2)), np.asarray(rate, dtype=np.float64)
    one, q, r = np.ones_like(y), m1 * y, m2 * y * y  # E 1, E uy, E (uy)²; w below is η v
    rows = [
        [one - 2 * q + r, -2 * a * (one - q), a * a * one],  # x' = (1 − uy) x − α w
        [q - r, a * (one - 2 * q), -a * a * one],
        [r, 2 * a * q, a * a * one],  # w' = uy x + α w
    ]
    matrices = np.moveaxis(np.array(rows), (0, 1), (-2, -1))
    return np.asarray(np.sqrt(np.abs(np.linalg.eigvals(matrices)).max(-1)))


def threshold(m1: float, m2: float, momentum: ArrayLike = 0.0) -> Array:
    """Largest mean-square stable rate ηh: 2 (1 − α²) / (m1 (1 − α + ρ (1 + α))), ρ = m2/m1² − 1.

    >>> [round(float(threshold(*ARMS[arm])), 9) for arm in ARMS]
    [2.0, 4.0, 3.0]
    """
    a, spread = _check(momentum, m1, m2), max(m2 / m1**2 - 1, 0.0)
    return np.asarray(2 * (1 - a * a) / (m1 * (1 - a + spread * (1 + a))))


def stationary(rate: ArrayLike, m1: float, m2: float, momentum: float = 0.0) -> Stationary:
    """Mean squares around the optimum of a noisy quadratic; inf where the variance diverges.

    >>> round(float(stationary(1.0, 1.0, 1.0).distance), 9)  # plain, ηh = 1: x is −η ε
    1.0
    """
    a, y = float(_check(momentum, m1, m2)), np.asarray(rate, dtype=np.float64)
    slack = (1 - a) * (2 * (1 + a) - m1 * y) - (1 + a) * (m2 / m1**2 - 1) * m1 * y
    with np.errstate(divide="ignore"):
        distance = np.where(slack > 0, y * (1 + a) * m2 / m1 / np.maximum(slack, 0), np.inf)
    return Stationary(distance, 2 * m1 * y / (1 + a) * distance)


def sample_stationary(
    rate: ArrayLike, weights: Array, momentum: float = 0.0, seed: int = 0
) -> Stationary:
    """Measure `stationary`: averages over the last 3/4 of the steps, each [paths, rates].

    >>> near = sample_stationary(1.0, arm_weights("plain", 1000, 9, 0))
    >>> near.step.shape, round(float(near.distance.mean()), 1)
    ((9, 1), 1.0)
    """
    y = np.atleast_1d(np.asarray(rate, dtype=np.float64))
    x = descend(0.0, y, 1.0, weights, momentum=momentum, noise=1.0, seed=seed)[len(weights) // 4 :]
    x *= y
    return Stationary((x**2).mean(0), (np.diff(x, axis=0) ** 2).mean(0))


def lyapunov(rate: ArrayLike, weights: ArrayLike | None = None, momentum: float = 0.0) -> Array:
    """Growth of log|x| per step on almost every path, at each rate [rates] (prediction 4).

    Without `weights` the closed form for U(0, 1), (1 − 1/y) log|1 − y| − 1. With weights
    [steps, paths] the mean of log|1 − uy| over them, exact for a law listed as equally likely
    values, or with momentum the growth of the matrix product.

    >>> lyapunov([1.0, 2.0]).tolist()
    [-1.0, -1.0]
    """
    a, y = float(_check(momentum)), np.atleast_1d(np.asarray(rate, dtype=np.float64))
    if weights is None and a:
        raise ValueError(f"momentum={momentum!r} needs weights=[steps, paths]: no closed form")
    with np.errstate(divide="ignore", invalid="ignore"):
        if weights is None:
            return np.where(y == 1, -1.0, (1 - 1 / y) * np.log(np.abs(1 - y)) - 1)
        u = np.asarray(weights, dtype=np.float64)
        if not a:
            return np.asarray(np.log(np.abs(1 - y[:, None] * u.ravel())).mean(-1))
    x, v, total = np.ones((len(y), u.shape[1])), np.zeros((len(y), u.shape[1])), np.zeros(len(y))
    for uy in u[:, None, :] * y[:, None]:
        v = a * v + uy * x
        x = x - v
        size = np.abs(x) + np.abs(v)
        x, v, total = x / size, v / size, total + np.log(size).mean(-1)
    return np.asarray(total / len(u))


def almost_sure_threshold(
    weights: ArrayLike | None = None, momentum: float = 0.0, tolerance: float = 1e-10
) -> float:
    """Largest rate ηh below which almost every path converges: the last zero of `lyapunov`.

    >>> round(almost_sure_threshold(), 4)
    4.5911
    """
    low, high = 0.0, 16.0
    while high - low > tolerance:
        edges = np.linspace(low, high, 65)
        below = lyapunov(edges[1:-1], weights, momentum) < 0
        last = np.flatnonzero(below)[-1] + 1 if below.any() else 0
        low, high = edges[last], edges[last + 1]
    return float((low + high) / 2)


def settled_after(distance: Array, tolerance: float) -> Array:
    """First step [...] from which `distance` [steps + 1, ...] stays within; inf if never.

    >>> settled_after(np.array([1.0, 0.1, 0.5, 0.1, 0.05]), 0.2).tolist()
    3.0
    """
    outside = ~(distance <= tolerance)  # nan, a diverged path, is outside
    after = np.where(outside.any(0), len(distance) - np.argmax(outside[::-1], axis=0), 0.0)
    return np.where(outside[-1], np.inf, after)


def arrival(rates: ArrayLike, tolerance: float, m1: float, m2: float, momenta: Array) -> Array:
    """Steps until the root mean square is within `tolerance` of the start, at the best rates.

    `rates` is [modes, choices]: the rate of each mode, which a choice has together.

    >>> arrival([[1.0, 1.5]], 0.25, *ARMS["RG"], np.zeros(1)).round(6).tolist()
    [2.0]
    """
    factors = [growth(rates, m1, m2, float(alpha)).max(0).min() for alpha in momenta]
    return np.asarray(np.log(tolerance) / np.log(factors))


class Reduction(NamedTuple):
    """How much smaller one mean is than another, in percent, with its 95 % interval."""

    percent: float
    low: float
    high: float
    detectable: float


def reduction(reference: ArrayLike, treated: ArrayLike) -> Reduction:
    """100 (1 − mean treated / mean reference), each a sample over independent paths.

    The interval is normal in the logarithm of the ratio; `detectable` is the reduction found
    with power 80 % at two-sided 5 %.

    >>> [round(number, 3) for number in reduction([4.0, 4.0], [3.0, 3.0])]
    [25.0, 25.0, 25.0, 0.0]
    """
    samples = [np.asarray(sample, float) for sample in (reference, treated)]
    if min(s.size for s in samples) < 2:
        raise ValueError(f"samples of {[s.size for s in samples]} paths: need at least 2 each")
    log = float(np.log(samples[1].mean() / samples[0].mean()))
    error = float(np.sqrt(sum(s.var(ddof=1) / s.size / s.mean() ** 2 for s in samples)))
    ends = (log, log + 1.96 * error, log - 1.96 * error, -2.80 * error)
    return Reduction(*(-100 * float(np.expm1(end)) for end in ends))
