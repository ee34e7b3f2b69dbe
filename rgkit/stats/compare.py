"""Arms compared run by run: paired tables, epochs to a target."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd

from rgkit.runs.kinds import Trained
from rgkit.runs.results import Results
from rgkit.stats.differences import DELTA_ACCURACY, NOTHING, Difference, difference, pool

COLUMNS = ["difference", "low", "high", "detectable", "pairs", "p_equivalent", "verdict"]


def _comparable(runs: pd.DataFrame, a: str, b: str, by: Sequence[str], value: str) -> pd.DataFrame:
    """Return the finished runs of two arms, or say why they cannot be compared."""
    if a == b:
        raise ValueError(f"arm {a!r} given twice; a difference needs two")
    known = sorted(runs["arm"].unique())
    for arm in (a, b):
        if arm not in known:
            raise ValueError(f"arm {arm!r} is not in the results; there are: {', '.join(known)}")
    table = runs[runs["arm"].isin([a, b])].dropna(subset=[value])
    if table.duplicated([*by, "seed", "arm"]).any():
        axes = [*by, "seed"]
        raise ValueError(f"several runs share {axes}; name the axes that tell them apart in `by`")
    return table


def paired(
    runs: pd.DataFrame,
    a: str,
    b: str,
    *,
    by: Sequence[str] = (),
    value: str = "final",
    delta: float = DELTA_ACCURACY,
    level: float = 0.95,
) -> pd.DataFrame:
    """Compare two arms seed by seed, cell by cell.

    Parameters
    ----------
    runs : DataFrame with columns ``arm``, ``seed``, `value` and those of `by`
    a, b : names of arms; the difference is a - b
    by : columns that make the cells; the last row, "all", pools them, with the wider interval of
        two: cells as independent, and seeds as the unit, since a seed's luck may reach many cells
    level : of the interval; of k differences the lowest is below zero by a test at 5 % only if its
        interval at 1 - 0.05 / k is (Bonferroni)

    Returns
    -------
    DataFrame, a row a cell: difference, low and high, detectable, pairs, p_equivalent,
    verdict on "a is better than b"; without a single pair, "all" is not measured

    Examples
    --------
    >>> runs = pd.DataFrame({"arm": ["x"] * 3 + ["y"] * 3, "seed": [0, 1, 2] * 2,
    ...                      "final": [90.0, 91, 92, 89, 90, 91.5]})
    >>> print(paired(runs, "x", "y")["difference"].round(3).to_dict())
    {'all': 0.833}
    """
    table = _comparable(runs, a, b, by, value)
    index = [*by, "seed"]
    wide = table.pivot(index=index, columns="arm", values=value)  # noqa: PD010  it refuses duplicates
    wide = wide.reindex(columns=[a, b])  # an arm of which every run is missing has no column
    gaps = (wide[a] - wide[b]).dropna()
    cells: dict[str, Difference] = {}
    for place, group in gaps.groupby(level=list(by)) if by else ():
        # pandas gives a tuple for a list of levels, whatever its length; its stubs do not say.
        names: Any = place
        cells[" · ".join(map(str, names))] = difference(group.to_numpy())
    if gaps.empty:
        cells["all"] = NOTHING
    else:
        cells["all"] = _pooled(cells, gaps) if by else difference(gaps.to_numpy())
    rows = {
        label: (d.mean, *d.interval(level), d.detectable, d.pairs, d.p_equivalent(delta),
                d.verdict(delta))
        for label, d in cells.items()
    }  # fmt: skip
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS)
    frame.index.name = " · ".join(by)
    return frame


def _pooled(cells: Mapping[str, Difference], gaps: pd.Series) -> Difference:
    """Return the mean over cells; its error is that of the cells or of the seeds' own means.

    Runs of one seed share initial weights, the order of images and the random loss weights. Where
    the rate is never decayed, this shows in the differences of several cells at once.
    """
    pooled = pool(list(cells.values()))
    table = gaps.unstack("seed").dropna(axis=1)  # noqa: PD010  seeds that every cell has
    if len(cells) < 2 or table.shape[1] < 2:
        return pooled
    seeds = difference(table.mean().to_numpy())
    across = replace(pooled, standard_error=seeds.standard_error, df=seeds.df)
    return max(pooled, across, key=lambda d: d.interval()[1])


def unpaired(
    runs: pd.DataFrame, a: str, b: str, *, by: Sequence[str] = (), value: str = "final"
) -> Difference:
    """Compare two arms by their means, with the spread between seeds taken from all arms together.

    For runs that a seed does not hold together, and too few of them to estimate a spread from the
    pairs: one variance for all arms and cells, as in a one-way analysis of variance.

    Parameters
    ----------
    runs, a, b, by, value : see `paired`; cells count the same, those without one arm not at all

    Returns
    -------
    Difference, a - b; its degrees of freedom are those of the spread, its pairs the fewest runs of
    an arm in a cell

    Examples
    --------
    >>> runs = pd.DataFrame({"arm": ["x"] * 2 + ["y"] * 2 + ["z"] * 2, "seed": [0, 1] * 3,
    ...                      "final": [90.0, 91, 88, 90, 85, 85]})
    >>> found = unpaired(runs, "x", "y")
    >>> found.mean, found.df, round(found.standard_error, 3)
    (1.5, 3.0, 0.913)
    """
    _comparable(runs, a, b, by, value)
    known = runs.dropna(subset=[value]).assign(all="all")  # one cell without `by`
    groups = known.groupby([*by, "all", "arm"])[value]
    free = groups.count() - 1
    df = float(free.sum())
    variance = float((groups.var() * free).sum()) / df if df else math.inf
    means, counts = (n.unstack("arm").reindex(columns=[a, b]) for n in (groups.mean(), free + 1))  # noqa: PD010
    counts = counts.dropna()
    if counts.empty:
        return NOTHING
    means = means.loc[counts.index]
    error = math.sqrt(variance * float((1 / counts).sum().sum())) / len(counts)
    return Difference(float((means[a] - means[b]).mean()), error, df, int(counts.min().min()))


def contrasts(
    runs: pd.DataFrame, pairs: Iterable[tuple[str, str]], *, split: str = "", **options: Any
) -> pd.DataFrame:
    """Compare pairs of arms, and where there is something to split by, in each part of the runs.

    Parameters
    ----------
    pairs : of arms; a difference is the first minus the second
    split : column that makes the parts
    options : see `paired`

    Returns
    -------
    The rows of `paired` under (difference, cell), where the difference is "arm − other" or
    "arm − other, part"; a part without a single pair is left out, see `overall`

    Examples
    --------
    >>> runs = pd.DataFrame({"arm": ["x", "y"], "seed": 0, "lr": 0.1, "final": [90.0, 88.0]})
    >>> list(contrasts(runs, [("x", "y"), ("x", "z")], split="lr").index)
    [('x − y, 0.1', 'all')]
    >>> contrasts(runs, [("x", "y")])["difference"].tolist()
    [2.0]
    """
    tables: dict[str, pd.DataFrame] = {}
    for arm, other in pairs:
        if not split:
            tables[f"{arm} − {other}"] = paired(runs, arm, other, **options)
            continue
        for part, own in runs.groupby(split, sort=False):
            if {arm, other} <= set(own["arm"]):
                table = paired(own, arm, other, **options)
                if table.loc["all", "pairs"]:
                    tables[f"{arm} − {other}, {part}"] = table
    names = ["difference", "cell"]
    if not tables:
        return pd.DataFrame(columns=COLUMNS, index=pd.MultiIndex.from_arrays([[], []], names=names))
    return pd.concat(tables, names=names)


def overall(table: pd.DataFrame, difference: str) -> pd.Series:
    """Return the pooled row of a difference in a table of `contrasts`; NaN if not measured."""
    if (difference, "all") in table.index:
        return cast(pd.Series, table.loc[(difference, "all")])
    return pd.Series(math.nan, index=table.columns)


def crossing(differences: pd.Series) -> float:
    """Return where a difference turns from negative to positive, between positive x.

    The first such place by a straight line over log x; NaN where there is none.

    >>> round(crossing(pd.Series([-2.0, -1.0, 1.0], index=[0.1, 0.2, 0.8])), 3)
    0.4
    """
    known = differences.dropna().sort_index()
    x, y = np.log(known.index.to_numpy(float)), known.to_numpy(float)
    rising = np.flatnonzero((y[:-1] < 0) & (y[1:] >= 0))
    if not rising.size:
        return math.nan
    around = slice(rising[0], rising[0] + 2)
    return float(np.exp(np.interp(0.0, y[around], x[around])))


def epochs_to(results: Results, targets: Sequence[float]) -> pd.DataFrame:
    """Return for each run the first epoch at or above each target, a row a run and target.

    Parameters
    ----------
    results : of any grid; runs that are missing have no rows
    targets : test accuracies in percent, or mean IoU where runs are judged by that

    Returns
    -------
    The labels of the runs, ``target``, and ``reached``, infinite for a run that never gets there,
    diverged ones among them. ``restricted`` is then one more than the length of the run: the
    restricted-mean convention, in which it counts as late, not as missing. ``images`` is the same
    in images trained on.
    """
    rows, records = [], {record.key: record for record in results.records}
    for run in results.runs[results.runs["status"] != "missing"].to_dict("records"):
        record = records[run["key"]]
        assert isinstance(record.config, Trained)
        accuracy = np.array(record.epochs[record.config.measure])
        for target in targets:
            at = np.flatnonzero(accuracy >= target)
            reached = float(at[0] + 1) if at.size else math.inf
            late = min(reached, record.config.epochs + 1.0)
            found = {"target": target, "reached": reached, "restricted": late}
            found["images"] = late * record.config.trained_on
            rows.append({axis: run[axis] for axis in results.grid.axes} | found)
    return pd.DataFrame(rows)
