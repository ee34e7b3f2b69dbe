"""Paired differences, intervals, detectable effects, equivalence, and verdicts in fixed words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from rgkit.stats.verdicts import CONTRADICTED, EQUIVALENT, INCONCLUSIVE, SUPPORTED

# Fixed before any run was looked at, in percent points.
DELTA_ACCURACY, DELTA_MIOU = 0.3, 1.0
DELTA_SSIM, DELTA_SHARPNESS = 1.0, 5.0  # of made pictures: likeness and clearness, in percent
DELTA_MAP = 1.0  # mean average precision of detections
DELTA_COST = 1.0  # percent of a step


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
        errors = np.array([self.standard_error, other.standard_error])
        error, mean = math.hypot(*errors), self.mean - other.mean
        pairs = min(self.pairs, other.pairs)
        if not 0 < error < math.inf:
            return Difference(mean, error, min(self.df, other.df), pairs)
        df = error**4 / float((errors**4 / [self.df, other.df]).sum())
        return Difference(mean, error, df, pairs)

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
        return judge(*self.interval(), delta, self.interval(0.9))


def detectable_ratio(df: float, power: float = 0.8, level: float = 0.05) -> float:
    """Return the detectable difference in standard errors, by the noncentral t distribution.

    >>> round(detectable_ratio(1e6), 3), round(detectable_ratio(4), 2)
    (2.802, 3.76)
    """
    critical = stats.t.ppf(1 - level / 2, df)

    def short_of(ratio: float) -> float:
        return float(stats.nct.sf(critical, df, ratio)) - power

    return float(optimize.brentq(short_of, 0.0, 4 * critical + 10))


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
    errors = np.array([p.standard_error for p in parts]) / len(parts)
    error, total = math.sqrt(float((errors**2).sum())), sum(p.pairs for p in parts)
    mean = float(np.mean([p.mean for p in parts]))
    if not math.isfinite(error):
        return Difference(mean, error, 0.0, total)
    weight = float(sum(e**4 / p.df for e, p in zip(errors, parts, strict=True)))
    df = error**4 / weight if weight > 0 else float(sum(p.df for p in parts))
    return Difference(mean, error, df, total)


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
    z = float(stats.norm.ppf(0.975) + stats.norm.ppf(0.8))
    pairs = max(2, math.ceil((z * spread / delta) ** 2))
    while detectable_ratio(pairs - 1) * spread / math.sqrt(pairs) > delta:
        pairs += 1
    return pairs


def runs_needed(spread: float, delta: float) -> int:
    """Return runs per arm, unpaired, to find `delta` (two-sided 5 %, power 80 %, normal).

    >>> runs_needed(0.15, 0.3), runs_needed(0.20, 0.3), runs_needed(0.20, 0.1)
    (4, 7, 63)
    """
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    return math.ceil(2 * (float(z) * spread / delta) ** 2)


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
