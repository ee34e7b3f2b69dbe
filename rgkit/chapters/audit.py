"""Printed numbers held against other printed numbers, from the ledger of claims."""

from __future__ import annotations

import math

import pandas as pd
from scipy import stats

from rgkit.method.spec import nearest
from rgkit.runs.grid import FIRST_SEEDS
from rgkit.stats.differences import ledger


def printed(claim: str) -> pd.DataFrame:
    """Return the rows of a table as the paper prints them; ValueError if the claim has none.

    >>> printed("ld-table1")["miou"].tolist()
    [62.13, 63.56]
    """
    known = [name for name, facts in ledger().items() if "rows" in facts]
    if claim not in known:
        raise ValueError(f"claim={claim!r} given{nearest(claim, known)}; it must print numbers")
    return pd.DataFrame(ledger()[claim]["rows"])


def by_class(claim: str, row: str) -> pd.DataFrame:
    """Return the printed values of a table that has a column for each class.

    Parameters
    ----------
    claim : such as "csgd-table4"
    row : the column that names the rows, such as "backbone"

    Returns
    -------
    DataFrame, a row a class, a column for each row of the paper's table

    >>> by_class("csgd-table4", "backbone").shape
    (20, 4)
    """
    table = printed(claim)
    return pd.DataFrame(dict(zip(table[row], table["ap"], strict=True)), ledger()[claim]["classes"])


def chance(gap: float, spread: float) -> float:
    """Return how often two runs of one method differ by `gap` or more, if seeds spread normally.

    Parameters
    ----------
    spread : standard deviation between the seeds of one method

    >>> round(chance(0.4, 0.2), 3)
    0.157
    """
    return float(2 * stats.norm.sf(abs(gap) / (math.sqrt(2) * spread)))


def spread_for(gap: float) -> float:
    """Return the spread between seeds at which two runs of one method differ so in 5 % of cases.

    >>> round(chance(3.34, spread_for(3.34)), 3)
    0.05
    """
    return abs(gap) / (math.sqrt(2) * float(stats.norm.isf(0.025)))


def seed_spread(runs: pd.DataFrame) -> pd.DataFrame:
    """Return how far the seeds of one and the same method lie apart, a row a method and setting.

    Parameters
    ----------
    runs : DataFrame with columns setting, arm, rate, seed, status, final: see `rgkit.recorded`;
        settings of three seeds or more count, and runs that diverged do not

    Returns
    -------
    DataFrame with columns setting, arm, rate, mean, std and count

    >>> rows = [{"setting": "s", "arm": "plain", "rate": "decayed", "status": "finished"}] * 3
    >>> found = seed_spread(pd.DataFrame(rows).assign(seed=[0, 1, 2], final=[70.0, 71.0, 72.0]))
    >>> found["std"].tolist(), found["count"].tolist()
    ([1.0], [3])
    """
    names = ["setting", "arm", "rate"]
    done = runs.reindex(columns=[*names, "status", "final"]).query("status == 'finished'")
    found = done.groupby(names)["final"].agg(["mean", "std", "count"])
    return found[found["count"] >= FIRST_SEEDS].reset_index()


def pooled_spread(spreads: pd.DataFrame, edges: list[float]) -> pd.DataFrame:
    """Return the pooled spread of the seeds by the rate's fate and the accuracy that is reached.

    Parameters
    ----------
    spreads : see `seed_spread`
    edges : of the bands of accuracy, in percent

    Returns
    -------
    DataFrame indexed by rate and accuracy: spread (the root of the mean variance, each setting with
    its degrees of freedom), settings, and degrees of freedom
    """
    free = spreads["count"] - 1
    table = spreads.assign(free=free, square=free * spreads["std"] ** 2)
    bands = table.groupby(["rate", pd.cut(table["mean"], edges).rename("accuracy")], observed=True)
    sums = bands[["square", "free"]].sum()
    spread = (sums["square"] / sums["free"]) ** 0.5
    return pd.DataFrame({"spread": spread, "settings": bands.size(), "free": sums["free"]})
