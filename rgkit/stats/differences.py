"""Paired differences, intervals, detectable effects, equivalence, and verdicts in fixed words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from rgkit.stats.verdicts import CONTRADICTED, EQUIVALENT, INCONCLUSIVE, SUPPORTED, UNMEASURED

# Fixed before any run was looked at, in percent points.
DELTA_ACCURACY, DELTA_MIOU = 0.3, 1.0
DELTA_SSIM, DELTA_SHARPNESS = 1.0, 5.0  # of made pictures: likeness and clearness, in percent
DELTA_MAP = 1.0  # mean average precision of detections
DELTA_COST = 1.0  # percent of a step
LEVEL, POWER = 0.05, 0.8  # of a two-sided test, and how often it finds what is detectable


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
        half = float(stats.t.ppf(0.5 + level / 2, self.df)) * self.standard_error
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
        return float(stats.t.sf(t, self.df))

    def verdict(self, delta: float) -> str:
        """Judge the claim "the difference is positive" by the rule of `judge`."""
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
    critical = stats.t.ppf(1 - LEVEL / 2, df)

    top = 4 * critical + 10
    return float(optimize.brentq(lambda t: stats.nct.sf(critical, df, t) - POWER, 0.0, top))


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
    if delta is not None:
        inside = inner or (low, high)
        if -delta < inside[0] and inside[1] < delta:
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
    pairs = max(2, math.ceil((_normal_ratio() * spread / delta) ** 2))
    while detectable_ratio(pairs - 1) * spread / math.sqrt(pairs) > delta:
        pairs += 1
    return pairs


def runs_needed(spread: float, delta: float) -> int:
    """Return runs per arm, unpaired, to find `delta` (two-sided 5 %, power 80 %, normal).

    >>> runs_needed(0.15, 0.3), runs_needed(0.20, 0.3), runs_needed(0.20, 0.1)
    (4, 7, 63)
    """
    return math.ceil(2 * (_normal_ratio() * spread / delta) ** 2)


def _normal_ratio() -> float:
    return float(stats.norm.ppf(1 - LEVEL / 2) + stats.norm.ppf(POWER))
