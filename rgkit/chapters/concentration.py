"""The theorem of Calibrated SGD, and processes that have what it asks for.

It says of iterates Y_1 … Y_n, whose steps are at most C in each coordinate, that the mean of them
stays near its own expectation. This module walks such iterates in one coordinate and counts.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import beta

from rgkit.method.spec import nearest

Array = np.ndarray
PROCESSES = ("flat", "bowl", "bowl, RG", "two valleys")


def walks(process: str, steps: int = 1000, paths: int = 20_000, seed: int = 0) -> Array:
    """Return the mean over each path's iterates, [paths]; every step is at most 1 long.

    Parameters
    ----------
    process : "flat" has no gradient, only noise of one up or down; "bowl" is gradient descent with
        the same noise on a quadratic, "bowl, RG" with U(0, 1) on the loss, noise and all; "two
        valleys" starts on the ridge between two minima. All start at 0 and are fair between left
        and right, so the expectation of the mean is 0.
    steps, paths, seed : int

    Raises ValueError for another name.

    >>> walks("bowl", steps=10, paths=3).shape
    (3,)
    """
    if process not in PROCESSES:
        raise ValueError(f"process={process!r} given{nearest(process, list(PROCESSES))}")
    draw = np.random.default_rng(seed)
    x, total = np.zeros(paths), np.zeros(paths)
    for _ in range(steps):
        noise = draw.choice([-1.0, 1.0], paths)
        if process == "flat":
            way = noise
        elif process == "two valleys":
            # The slope of a double well whose minima are at ±steps, far off and steep enough to be
            # reached; clipped, so that with the noise a step is at most 1.
            way = 0.5 * np.clip(x * (1 - (x / steps) ** 2), -1, 1) + 0.5 * noise
        else:
            way = np.clip(-0.05 * x, -0.5, 0.5) + 0.5 * noise
            way = way * draw.random(paths) if process == "bowl, RG" else way
        x = x + way
        total += x
    means: Array = total / steps
    return means


def bounds(distance: Array, steps: int) -> dict[str, Array]:
    """Return what the paper allows for a mean that far from its expectation, with steps up to 1.

    The theorem (eq. 16) allows 2 exp(-distance**2 / (2 steps)), at most 1, as a probability is.
    Lemma 3 (eq. 13), on which it is built, allows 2 exp(-(steps distance)**2 / steps).

    >>> {name: round(float(bound), 3) for name, bound in bounds(np.array(2.0), 4).items()}
    {'theorem': 1.0, 'lemma': 0.0}
    """
    exponents = {"theorem": -(distance**2) / (2 * steps), "lemma": -steps * distance**2}
    return {name: np.minimum(1, 2 * np.exp(exponent)) for name, exponent in exponents.items()}


def tails(steps: int = 1000, paths: int = 20_000, points: int = 60) -> pd.DataFrame:
    """Return how often the mean is that far from its expectation, beside the two bounds.

    Returns
    -------
    DataFrame, a row a process and distance: ``frequency`` over the paths, ``low`` (a lower limit of
    the true probability, one-sided 99.9 %, Clopper and Pearson), ``theorem`` and ``lemma``
    """
    distance = np.geomspace(0.01, 5 * np.sqrt(steps), points)
    frames = []
    for process in PROCESSES:
        means = np.abs(walks(process, steps, paths))
        hits = (means[None] >= distance[:, None]).sum(1)
        low = np.where(hits > 0, beta.ppf(0.001, np.maximum(hits, 1), paths - hits + 1), 0.0)
        table = {"process": process, "distance": distance, "frequency": hits / paths, "low": low}
        frames.append(pd.DataFrame(table | bounds(distance, steps)))
    return pd.concat(frames, ignore_index=True)


def longest_step(coordinates: int, steps: int, distance: float = 1.0) -> float:
    """Return the longest step at which the theorem still says something about a whole network.

    It adds the bounds of all coordinates (eq. 17); the sum is below 1 only for steps shorter than
    distance / sqrt(2 steps log(2 coordinates)).

    >>> longest = longest_step(1000, 100)
    >>> bool(np.isclose(1000 * 2 * np.exp(-1 / (2 * 100 * longest**2)), 1))
    True
    """
    return float(distance / np.sqrt(2 * steps * np.log(2 * coordinates)))
