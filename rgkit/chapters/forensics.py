"""What a difference between a paper and its code is worth, from runs that are recorded anyway.

What reads the losses takes runs as `rgkit.recorded` labels them; the others take any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rgkit.chapters.library import setting_of
from rgkit.method import schedules
from rgkit.runs.config import Classification, Trained
from rgkit.runs.grid import arm_of
from rgkit.runs.results import Results
from rgkit.stats.differences import difference

COLUMNS = ["difference", "low", "high", "detectable", "pairs"]


def _table(gaps: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Return mean and interval of several lists of differences, see `swapped`."""
    rows = {}
    for name, gap in gaps.items():
        rows[name] = (*[math.nan] * 4, 0)
        if len(known := gap.dropna()):
            d = difference(known.to_numpy())
            rows[name] = (d.mean, *d.interval(), d.detectable, d.pairs)
    return pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS)


def _by_seed(results: Results, config: Trained, value: str) -> pd.Series:
    """Return what the runs of a configuration ended with, by seed."""
    wanted = vars(config) | {"seed": 0}
    same = [vars(cell.config) | {"seed": 0} == wanted for cell in results.grid]
    return results.runs.loc[same].groupby("seed")[value].last()


def swapped(
    results: Results,
    config: Trained,
    change: Mapping[str, Any],
    arm: str = "RG",
    after: str = "final",
) -> pd.DataFrame:
    """Return what changing a setting changes: in plain training, in an arm, and in their gap.

    Parameters
    ----------
    config : the setting before the change; its seed and loss weight do not matter
    change : settings of the run after the change
    after : "final", or "best" to read the best epoch in the place of the final one after it

    Returns
    -------
    DataFrame with the rows ``plain``, `arm` and ``gap`` (what is done to `arm` − plain): the
    difference after - before in points, paired by seed, its 95 % interval, the smallest detectable
    difference and the number of pairs; NaN where no pair is recorded

    Examples
    --------
    >>> from rgkit.runs.config import Classification
    >>> from rgkit.runs.results import collect
    >>> from rgkit.runs.grid import Grid
    >>> empty = collect(Grid(axes=("seed",)))
    >>> swapped(empty, Classification(), {"schedule": "discarded"})["pairs"].tolist()
    [0, 0, 0]
    """
    before, ends = config.replace(weight="constant(1)"), {}
    for name in ("plain", arm):
        first = _by_seed(results, arm_of(name, before), "final")
        ends[name] = _by_seed(results, arm_of(name, before.replace(**change)), after) - first
    return _table(ends | {"gap": ends[arm] - ends["plain"]})


def between(results: Results, config: Trained, a: str, b: str) -> pd.Series:
    """Return the row of `swapped` for one arm minus another in one setting, paired by seed.

    >>> from rgkit.runs.config import Classification
    >>> from rgkit.runs.results import collect
    >>> from rgkit.runs.grid import Grid
    >>> empty = collect(Grid(axes=("seed",)))
    >>> int(between(empty, Classification(), "coin(0.5)", "RG")["pairs"])
    0
    """
    ends = [_by_seed(results, arm_of(arm, config), "final") for arm in (a, b)]
    return _table({f"{a} − {b}": ends[0] - ends[1]}).iloc[0]


def logged(results: Results, config: Classification) -> pd.DataFrame:
    """Return the training loss of plain training and of RG as it is and as the code logs it.

    The code adds up the loss after the weight has been multiplied to it. Our records have the
    unweighted loss and the mean of the weights of every epoch. The weight is drawn without looking
    at the loss, so the mean of the products is nearly the product of the means.

    Returns
    -------
    DataFrame, a row an epoch of a run: arm, seed, epoch, key, ``unweighted`` and ``weighted``
    """
    columns = ["arm", "seed", "epoch", "key"]
    epochs = results.epochs.reindex(columns=["setting", *columns, "train_loss", "u_mean"])
    own = epochs[(epochs["setting"] == setting_of(config)) & epochs["arm"].isin(["plain", "RG"])]
    loss = own["train_loss"]
    return own[columns].assign(unweighted=loss, weighted=loss * own["u_mean"])


def lead(losses: pd.DataFrame) -> pd.DataFrame:
    """Return by how many percent RG's training loss ends from that of plain training.

    Parameters
    ----------
    losses : a table of `logged`

    Returns
    -------
    DataFrame with the rows ``unweighted`` and ``weighted``, columns as in `swapped`; pairs by seed

    >>> rows = {"arm": ["plain", "RG"], "seed": 0, "epoch": 9, "unweighted": [0.5, 0.6]}
    >>> lead(pd.DataFrame(rows | {"weighted": [0.5, 0.3]}))["difference"].round(1).tolist()
    [20.0, -40.0]
    """
    end = losses[losses["epoch"] == losses["epoch"].max()]
    gaps = {}
    for value in ("unweighted", "weighted"):
        known = end.pivot_table(value, "seed", "arm").reindex(columns=["plain", "RG"])
        gaps[value] = 100 * (known["RG"] / known["plain"] - 1)
    return _table(gaps)


def rates(epochs: int, lr: float) -> pd.DataFrame:
    """Return the learning rate of each epoch as it was meant and as it was used.

    >>> rates(100, 0.1).round(4).iloc[[0, 50, 99]].to_numpy().tolist()
    [[0.1, 0.1], [0.0536, 0.1], [0.0016, 0.1]]
    """
    both = {"meant": schedules.schedule("poly"), "used": schedules.Discarded("poly").effective()}
    size = {"per_epoch": 1, "epochs": epochs}
    table = {name: lr * one.draw(np.arange(epochs), **size) for name, one in both.items()}
    return pd.DataFrame(table, index=pd.RangeIndex(1, epochs + 1, name="epoch"))
