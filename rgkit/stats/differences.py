"""Arms compared run by run: differences, intervals, detectable effects, equivalence, verdicts.

SciPy is loaded where it computes: a book can be built without.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import scipy

SUPPORTED, CONTRADICTED = "supported", "contradicted"
EQUIVALENT, INCONCLUSIVE = "equivalent within Δ", "inconclusive"
UNMEASURED = "not measured"
VERDICTS = (SUPPORTED, CONTRADICTED, EQUIVALENT, INCONCLUSIVE, UNMEASURED)
# The ledger: what the three papers claim, and what we predict.
LEDGERS = [
    Path(__file__).resolve().parents[2] / "book" / name
    for name in ("claims.yml", "predictions.yml")
]

# Fixed before any run was looked at, in percent points.
DELTA_ACCURACY, DELTA_MIOU = 0.3, 1.0
DELTA_SSIM, DELTA_SHARPNESS = 1.0, 5.0  # of made pictures: likeness and clearness, in percent
DELTA_MAP = 1.0  # mean average precision of detections
DELTA_COST = 1.0  # percent of a step
LEVEL, POWER = 0.05, 0.8  # of a two-sided test, and how often it finds what is detectable
COLUMNS = ["difference", "low", "high", "detectable", "pairs", "p_equivalent", "verdict"]


@cache
def ledger() -> dict[str, dict[str, Any]]:
    """Return every claim of the three papers, then our predictions, by id.

    Each has its paper ("predictions" for ours) under "paper".

    >>> ledger()["rg-cost"]["says"]
    'no extra cost'
    """
    import yaml

    papers = [pair for path in LEDGERS for pair in yaml.safe_load(path.read_text("utf-8")).items()]
    return {claim["id"]: claim | {"paper": paper} for paper, claims in papers for claim in claims}


@dataclass(frozen=True)
class Difference:
    """A mean paired difference with what its interval needs.

    Attributes
    ----------
    mean, standard_error : in the unit of the values
    df : degrees of freedom of Student's t
    pairs : how many paired differences it is made of
    """

    mean: float
    standard_error: float
    df: float
    pairs: int

    def __sub__(self, other: Difference) -> Difference:
        """Return a difference of differences, of runs that share nothing (Welch, Satterthwaite).

        >>> excess = difference([1.0, 2.0, 3.0]) - difference([0.0, 0.5, 1.0])
        >>> excess.mean, round(excess.standard_error, 3), round(excess.df, 2)
        (1.5, 0.645, 2.94)
        """
        mean, pairs = self.mean - other.mean, min(self.pairs, other.pairs)
        return _welch(mean, [self, other], 1.0, pairs)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the two-sided confidence interval; infinite where one pair allows none.

        >>> low, high = difference([1.0, 2.0, 3.0]).interval()
        >>> round(low, 3), round(high, 3)
        (-0.484, 4.484)
        """
        if self.df < 1:
            return -math.inf, math.inf
        half = float(scipy.stats.t.ppf(0.5 + level / 2, self.df)) * self.standard_error
        return self.mean - half, self.mean + half

    @property
    def detectable(self) -> float:
        """The smallest true difference that a two-sided 5 % test would find 4 times out of 5."""
        if self.df < 1:
            return math.inf
        return self.standard_error * detectable_ratio(self.df)

    def p_equivalent(self, delta: float) -> float:
        """Return the p-value of two one-sided tests against a difference of ``delta`` or more."""
        if self.df < 1:
            return 1.0
        if self.standard_error == 0:
            return 0.0 if abs(self.mean) < delta else 1.0
        t = (delta - abs(self.mean)) / self.standard_error
        return float(scipy.stats.t.sf(t, self.df))

    def verdict(self, delta: float) -> str:
        """Judge the claim "the difference is positive" by the rule of `judge`."""
        if self.standard_error == 0 and self.mean:  # all alike: nobody knows how far they spread
            return INCONCLUSIVE
        inner = self.interval(0.9)
        return judge(*self.interval(), delta, inner) if self.pairs else UNMEASURED


NOTHING = Difference(math.nan, math.nan, 0.0, 0)  # what there is without a single pair


def _welch(mean: float, parts: Sequence[Difference], weight: float, pairs: int) -> Difference:
    """Return a sum of independent parts, each times ±`weight` (Welch and Satterthwaite)."""
    errors = weight * np.array([part.standard_error for part in parts])
    freedom = np.array([part.df for part in parts])
    error = math.sqrt(float((errors**2).sum()))
    if not 0 < error < math.inf:
        return Difference(mean, error, float(freedom.min()), pairs)
    return Difference(mean, error, error**4 / float((errors**4 / freedom).sum()), pairs)


def detectable_ratio(df: float) -> float:
    """Return the detectable difference in standard errors, by the noncentral t distribution.

    >>> round(detectable_ratio(1e6), 3), round(detectable_ratio(4), 2)
    (2.802, 3.76)
    """
    critical = scipy.stats.t.ppf(1 - LEVEL / 2, df)
    top = 4 * critical + 10
    return float(
        scipy.optimize.brentq(lambda t: scipy.stats.nct.sf(critical, df, t) - POWER, 0.0, top)
    )


def difference(values: Sequence[float] | np.ndarray) -> Difference:
    """Return the mean of paired differences [pairs] with its standard error.

    Raises ValueError if there is no pair.
    """
    d = np.asarray(values, float)
    if d.size == 0:
        raise ValueError("no paired differences given; both arms need runs with the same seeds")
    error = float(d.std(ddof=1) / math.sqrt(d.size)) if d.size > 1 else math.inf
    return Difference(float(d.mean()), error, float(d.size - 1), int(d.size))


def pool(parts: Sequence[Difference]) -> Difference:
    """Return the mean over cells that each have their own spread (Welch and Satterthwaite).

    Every cell counts the same, whatever its number of seeds.
    """
    if not parts:
        raise ValueError("no cells given to pool")
    mean = float(np.mean([part.mean for part in parts]))
    return _welch(mean, parts, 1 / len(parts), sum(part.pairs for part in parts))


def judge(
    low: float,
    high: float,
    delta: float | None = None,
    inner: tuple[float, float] | None = None,
) -> str:
    """Judge the claim "the quantity is positive" from its interval, in fixed words.

    In this order: *equivalent within Δ* if the inner interval (90 %, as two one-sided tests at
    5 % want it; the same interval if none is given) lies inside ±delta; *supported* if the
    interval lies above zero; *contradicted* if below; otherwise *inconclusive*.

    >>> judge(0.2, 0.9, 0.3), judge(-0.1, 0.2, 0.3), judge(-2, 1, 0.3)
    ('supported', 'equivalent within Δ', 'inconclusive')
    """
    least, most = inner or (low, high)
    if delta is not None and -delta < least and most < delta:
        return EQUIVALENT
    if low > 0:
        return SUPPORTED
    return CONTRADICTED if high < 0 else INCONCLUSIVE


def judge_equal(low: float, high: float, delta: float) -> str:
    """Judge the claim "the quantity is zero, give or take delta" from its interval.

    *supported* if the interval lies inside ±delta, *contradicted* if it lies outside,
    otherwise *inconclusive*.

    >>> judge_equal(-0.1, 0.2, 1.0), judge_equal(2, 3, 1.0), judge_equal(0.5, 1.5, 1.0)
    ('supported', 'contradicted', 'inconclusive')
    """
    if -delta < low and high < delta:
        return SUPPORTED
    return CONTRADICTED if low > delta or high < -delta else INCONCLUSIVE


def pairs_needed(spread: float, delta: float) -> float:
    """Return the pairs with which a paired difference of `delta` is found (5 %, power 80 %).

    Parameters
    ----------
    spread : standard deviation of the paired differences; NaN, from a single pair, gives NaN

    >>> pairs_needed(0.2, 0.3), pairs_needed(0.4, 0.3)
    (6, 16)
    """
    if not math.isfinite(spread):
        return math.nan
    # Student's t asks for more than the normal distribution, which is where the search begins.
    pairs = max(2, runs_needed(spread, delta) // 2)
    while detectable_ratio(pairs - 1) * spread / math.sqrt(pairs) > delta:
        pairs += 1
    return pairs


def runs_needed(spread: float, delta: float) -> int:
    """Return runs per arm, unpaired, to find `delta` (two-sided 5 %, power 80 %, normal).

    >>> runs_needed(0.15, 0.3), runs_needed(0.20, 0.3), runs_needed(0.20, 0.1)
    (4, 7, 63)
    """
    ratio = float(scipy.stats.norm.ppf(1 - LEVEL / 2) + scipy.stats.norm.ppf(POWER))
    return math.ceil(2 * (ratio * spread / delta) ** 2)


# --- arms, seed by seed ---------------------------------------------------------------------------


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
    if "status" in table:  # where both have diverged, nothing was compared
        gone = table.assign(gone=table["status"] == "diverged").groupby(index)["gone"].sum() > 1
        gaps = gaps[~gone.reindex(gaps.index)]
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
