"""LD's "death convergence": what a run gains in its last tenth, and where its curve bends up."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from rgkit.runs.results import Results

Floats = NDArray[np.float64]
EDGE = 2  # a break needs three points on either side, itself included
DRAWS = 4000


def gains(results: Results, part: float = 0.1) -> pd.DataFrame:
    """Return what each finished run gains at its end: a row a run.

    Parameters
    ----------
    part : length of the end, as a part of the run; at least an epoch

    Returns
    -------
    The labels of the runs; ``gain``, the mean test accuracy over the end minus that over the part
    before it; ``before``, the same for the two parts before the end; and ``faster``, gain - before:
    above zero if the run speeds up at its end, which a steady improvement does not
    """
    rows = []
    for labels, curve in _curves(results):
        width = max(1, round(part * len(curve)))
        if len(curve) < 3 * width:
            raise ValueError(f"{len(curve)} epochs given; part={part} takes three times {width}")
        before, gain = np.diff(curve[-3 * width :].reshape(3, width).mean(axis=1))
        rows.append(labels | {"gain": gain, "before": before, "faster": gain - before})
    return pd.DataFrame(rows, columns=[*results.grid.axes, "gain", "before", "faster"])


def bends(results: Results, start: float = 0.5) -> pd.DataFrame:
    """Return for each finished run where its curve bends upwards: a row a run.

    Returns
    -------
    The labels of the runs; ``at``, the epoch, and ``steeper`` of `bend`, both NaN where there is no
    bend; ``left``, how many epochs follow it; and ``found``, whether there is one
    """
    rows = []
    for labels, curve in _curves(results):
        at, steeper = bend(curve, start)
        found = {"left": len(curve) - at, "found": not math.isnan(at)}
        rows.append(labels | {"at": at, "steeper": steeper} | found)
    return pd.DataFrame(rows, columns=[*results.grid.axes, "at", "steeper", "left", "found"])


def _curves(results: Results) -> Iterator[tuple[dict[str, Any], Floats]]:
    """Labels and test accuracies of each run that is finished; one that diverged has no end."""
    found = {record.key: record for record in results.records}
    for row in results.runs[results.runs["status"] == "finished"].to_dict("records"):
        labels = {axis: row[axis] for axis in results.grid.axes}
        yield labels, np.array(found[row["key"]].epochs["test_accuracy"])


def bend(curve: ArrayLike, start: float = 0.5) -> tuple[float, float]:
    """Return the epoch from which on a curve is better described by a steeper line.

    Broken lines are fitted by least squares to the part of the curve after `start`. Of those that
    become steeper the best is taken, if it is better than the best one is for 95 % of curves that
    are nothing but noise around a straight line.

    Parameters
    ----------
    curve : a value after each epoch, [epochs]
    start : part of the run that is left out; every curve bends in its first epochs

    Returns
    -------
    the epoch, counted from 1, and the slope after it minus the slope before it, per epoch; NaN and
    NaN where there is no such place

    Examples
    --------
    >>> bend([50, 51, 52, 53, 54, 55, 56, 57, 61, 65, 69, 73], start=0.25)
    (8.0, 3.0)
    >>> bend([60, 65, 68, 70, 71, 71.5, 71.8, 72, 72.1, 72.1, 72.1, 72.1], start=0)
    (nan, nan)
    """
    values = np.asarray(curve, float)
    if not 0 <= start < 1:
        raise ValueError(f"start={start} given; a part of the run, from 0 to below 1")
    if not np.isfinite(values).all():
        raise ValueError(f"{(~np.isfinite(values)).sum()} values of the curve are not finite")
    first = int(start * len(values) + 1e-9)
    y = values[first:]
    if len(y) < 6:
        raise ValueError(f"{len(values)} epochs given, {len(y)} after start={start}; 6 are needed")
    gain, steeper = (row[0] for row in _breaks(y[None]))
    best = int(gain.argmax())
    if not gain[best] > _by_chance(len(y)):
        return math.nan, math.nan
    return float(first + EDGE + best + 1), round(float(steeper[best]), 9)


def _breaks(curves: Floats) -> tuple[Floats, Floats]:
    """Return F of each break against a straight line, and the change of slope, [curves, breaks].

    F is 0 where the slope falls, or where the straight line leaves nothing to explain.
    """
    x = np.arange(curves.shape[1], dtype=float)
    y = (curves - curves.mean(axis=1, keepdims=True)).T
    total = (y**2).sum(axis=0)
    line = np.linalg.lstsq(np.stack([np.ones_like(x), x], axis=1), y)[1]
    gains, slopes = [], []
    for at in x[EDGE:-EDGE]:
        broken = np.stack([np.ones_like(x), x, np.maximum(x - at, 0)], axis=1)
        (_, _, slope), error, *_ = np.linalg.lstsq(broken, y)
        ratio = (line - error) / np.maximum(error, 1e-12 * total + 1e-300) * (len(x) - 3)
        gains.append(np.where((slope > 0) & (line > 1e-9 * total), ratio, 0.0))
        slopes.append(slope)
    return np.stack(gains, axis=1), np.stack(slopes, axis=1)


@functools.cache
def _by_chance(epochs: int) -> float:
    """Return the F that the best break of pure noise stays below in 95 % of all curves."""
    noise = np.random.default_rng(0).normal(size=(DRAWS, epochs))
    return float(np.quantile(_breaks(noise)[0].max(axis=1), 0.95))
