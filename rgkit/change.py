"""Where a learning curve bends upwards: LD's "death convergence", located and not seen by eye."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rgkit.execute import Results


def bend(curve: ArrayLike, start: float = 0.5) -> tuple[int, float]:
    """Return the epoch at which a curve bends most, and by how much.

    A broken line is fitted by least squares to the part of the curve after `start`; the break may
    lie at any epoch but the first and last two of that part.

    Parameters
    ----------
    curve : a value after each epoch, [epochs]
    start : part of the run that is left out; every curve bends in its first epochs

    Returns
    -------
    the epoch, counted from 1, and the slope after it minus the slope before it, per epoch

    Examples
    --------
    >>> bend([50, 51, 52, 53, 54, 55, 56, 57, 61, 65, 69, 73], start=0.25)
    (8, 3.0)
    """
    values = np.asarray(curve, float)
    first = int(start * len(values))
    x, y = np.arange(first + 1, len(values) + 1, dtype=float), values[first:]
    if len(y) < 6:
        raise ValueError(f"{len(values)} epochs given, {len(y)} after start={start}; 6 are needed")
    best = (np.inf, 0, 0.0)
    for at in x[2:-2]:
        columns = np.stack([np.ones_like(x), x, np.maximum(x - at, 0)], axis=1)
        fit, *_ = np.linalg.lstsq(columns, y, rcond=None)
        error = float(((columns @ fit - y) ** 2).sum())
        if error < best[0] - 1e-12:
            best = (error, int(at), round(float(fit[2]), 9))
    return best[1], best[2]


def bends(results: Results, start: float = 0.5, value: str = "test_accuracy") -> pd.DataFrame:
    """Return for each finished run where its curve bends: a row a run.

    Returns
    -------
    The labels of the runs; ``at``, the epoch; ``left``, how many epochs follow it; ``steeper``, by
    how much the slope grows there, in the unit of `value` per epoch
    """
    axes = list(results.grid.axes)
    rows = []
    for place, run in results.epochs.groupby([*axes, "key"], sort=False):
        at, steeper = bend(run.sort_values("epoch")[value], start)
        labels = dict(zip(axes, place, strict=False))
        rows.append(labels | {"at": at, "left": len(run) - at, "steeper": steeper})
    return pd.DataFrame(rows, columns=[*axes, "at", "left", "steeper"])
