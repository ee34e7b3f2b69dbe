"""What the best epoch on the test set adds, and to which arm (prediction 10).

A paper that reports the best of N epochs has chosen the epoch with the images that it is judged
by. The functions here take runs as `rgkit.recorded` labels them; the figures are at the end.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from rgkit.chapters.lines import grouped
from rgkit.figures.style import canvas, finish
from rgkit.runs.grid import FIRST_SEEDS
from rgkit.runs.results import Results
from rgkit.stats.differences import DELTA_ACCURACY, NOTHING, Difference, difference

HALF = "constant 1/2"
KEYS = ["setting", "rate", "comparison"]
VALUES = ["final", "best", "late", "gain", "own", "others"]


def late(values: ArrayLike, part: float = 1 / 3) -> NDArray[np.float64]:
    """Return the epochs in the last part of a run, [epochs] -> [late epochs]: 4 of 10, 10 of 30.

    >>> late([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).tolist()
    [7.0, 8.0, 9.0, 10.0]
    """
    every = np.asarray(values, float)
    return every[math.floor(len(every) * (1 - part) + 1e-9) :]


def jumps(values: ArrayLike) -> tuple[float, float]:
    """Return the noise of one epoch and the trend, from the differences of consecutive epochs.

    Epochs that scatter independently by σ about a straight line differ by the slope of the line on
    average, with a standard deviation of √2·σ.

    Returns
    -------
    σ and the slope, both in the unit of the values; σ is NaN for fewer than three epochs

    Examples
    --------
    >>> sigma, slope = jumps([1.0, 3.0, 3.0, 5.0])
    >>> round(sigma, 3), round(slope, 3)
    (0.816, 1.333)
    """
    steps = pd.Series(np.asarray(values, float)).diff()
    return float(steps.std() / math.sqrt(2)), float(steps.mean())


def expected_best(sigma: float, epochs: int, slope: float = 0.0) -> float:
    """Return by how much the best of some epochs lies above the last of them on average.

    The epochs scatter independently, normally, by `sigma` about a line that rises by `slope` an
    epoch; a run that still rises has its best epoch near its end, where there is nothing to gain.

    >>> [round(expected_best(1.0, epochs), 2) for epochs in (4, 10, 20)]
    [1.03, 1.54, 1.87]
    >>> round(expected_best(1.0, 10, slope=1.0), 2)
    0.23
    """
    if not (math.isfinite(sigma) and math.isfinite(slope)):
        return math.nan
    above = slope * np.arange(1 - epochs, 1.0)  # of the line over its end
    if sigma == 0:
        return float(above.max())
    # The mean of a variable is its upper end less the area under its distribution function.
    low, high = above.min() - 8 * sigma, above.max() + 8 * sigma
    at = np.linspace(low, high, 2001)
    below = stats.norm.cdf((at[:, None] - above) / sigma).prod(axis=1)
    return float(high - np.trapezoid(below, at))


def noise(results: Results, part: float = 1 / 3) -> pd.DataFrame:
    """Return the finished runs of `results` with how much they jump and what their best epoch adds.

    Returns
    -------
    ``results.runs`` with more columns, in points: ``gain``, best - final; ``late``, the mean of the
    late epochs; ``own``, the noise of one late epoch, see `jumps`, and ``others``, the same (the
    root of the mean square) of the other seeds of the arm, which do not share this run's luck;
    ``foretold``, the gain that theory expects from ``others``, and ``tilted``, the same with the
    trend of the other seeds. The last three are NaN for a single seed.

    Raises ValueError if there is no run.
    """
    if not results.records:
        raise ValueError("no run is recorded; profile=smoke trains a few toy ones")
    found = {}
    for key, accuracy in results.epochs.groupby("key")["test_accuracy"]:
        end = late(accuracy, part)
        found[key] = (*jumps(end), end.mean(), len(end))
    names = ["own", "slope", "late", "late_epochs"]
    ends = pd.DataFrame.from_dict(found, orient="index", columns=names)
    runs = results.runs[results.runs["status"] == "finished"].join(ends, on="key")
    values = pd.DataFrame({"others": runs["own"] ** 2, "slope": runs["slope"]})
    seeds = values.groupby([runs["setting"], runs["arm"]])
    more = seeds["slope"].transform("size") - 1
    rest = (seeds.transform("sum") - values).div(more.where(more > 0), axis=0)
    others, counts = rest["others"].clip(lower=0) ** 0.5, runs["late_epochs"]
    runs = runs.assign(gain=runs["best"] - runs["final"], others=others)
    runs["foretold"] = [*map(expected_best, others, counts)]
    runs["tilted"] = [*map(expected_best, others, counts, rest["slope"])]
    return runs


def pairs(runs: pd.DataFrame, least: int = FIRST_SEEDS) -> pd.DataFrame:
    """Return the differences of two arms, seed by seed, in every setting that has both.

    Every arm is compared with plain training, and Random Gradient with the constant 1/2 as well.

    Parameters
    ----------
    runs : a table of `noise`
    least : paired seeds that a comparison must have

    Returns
    -------
    DataFrame, a row a comparison and seed: setting, rate, comparison ("a − b"), seed; a - b of
    final, best, late, gain, own and others; and ``favour``, what the best epoch adds to the
    noisier arm beyond what it adds to the quieter one, where the *other* seeds say which is which
    """
    parts = [pd.DataFrame(columns=[*KEYS, "seed", *VALUES])]
    for (setting, rate), own in runs.groupby(["setting", "rate"], sort=False):
        arms = own.set_index("seed").groupby("arm", sort=False)
        by_arm = {str(arm): rows[VALUES] for arm, rows in arms}
        for a, b in [*((arm, "plain") for arm in by_arm if arm != "plain"), ("RG", HALF)]:
            if {a, b} <= by_arm.keys():
                gap = (by_arm[a] - by_arm[b]).dropna(subset=["final"]).reset_index()
                gap = gap.assign(setting=str(setting), rate=str(rate), comparison=f"{a} − {b}")
                parts += [gap] if len(gap) >= least else []
    table = pd.concat(parts[1:] or parts, ignore_index=True).astype(dict.fromkeys(VALUES, float))
    return table.assign(favour=table["gain"] * np.sign(table["others"]))


def intervals(table: pd.DataFrame, value: str) -> dict[str, Difference]:
    """Return the mean of a column over settings, twice: with settings and with seeds as the unit.

    Runs of one setting share all but chance, and runs of one seed share initial weights and the
    order of images in every setting, so neither kind of group is the only one. Comparisons of one
    setting and seed share runs and are averaged first.

    Parameters
    ----------
    table : rows with ``setting``, ``seed`` and `value`

    Returns
    -------
    The difference with "settings" as clusters, every setting counting the same; and with "seeds",
    of those that every setting has. NaN where there is none.

    Examples
    --------
    >>> rows = {"setting": ["x", "x", "y", "y"], "seed": [0, 1, 0, 1], "gain": [1.0, 2.0, 3.0, 2.0]}
    >>> found = intervals(pd.DataFrame(rows), "gain")
    >>> found["settings"].mean, found["settings"].pairs, found["seeds"].standard_error
    (2.0, 2, 0.0)
    """
    rows = table.dropna(subset=[value])
    known = rows.pivot_table(value, "setting", "seed")  # the mean, where several share a place
    clusters = {"settings": known.mean(axis=1), "seeds": known.dropna(axis=1).mean()}
    return {n: difference(c.to_numpy()) if len(c) else NOTHING for n, c in clusters.items()}


def widest(found: dict[str, Difference]) -> Difference:
    """Return the difference of `intervals` whose interval is the wider one.

    >>> settings, seeds = Difference(0.1, 0.1, 20, 21), Difference(0.1, 0.1, 2, 3)
    >>> widest({"settings": settings, "seeds": seeds}).pairs
    3
    """
    return max(found.values(), key=lambda d: d.interval()[1] - d.interval()[0])


def verdicts(table: pd.DataFrame, delta: float = DELTA_ACCURACY) -> pd.DataFrame:
    """Return every comparison judged by the final and by the best epoch.

    Parameters
    ----------
    table : rows of `pairs`

    Returns
    -------
    DataFrame, a row a comparison: setting, rate, comparison, seeds, the mean difference by
    ``final`` and by ``best``, the verdict on "a is better than b" by each, and whether the sign
    (``turned``) or the verdict (``changed``) is another one
    """
    rows = []
    for names, own in table.groupby(KEYS, sort=False):
        final, best = (difference(own[value].to_numpy()) for value in ("final", "best"))
        said = [d.verdict(delta) for d in (final, best)]
        turned, changed = final.mean * best.mean < 0, said[0] != said[1]
        rows.append([*names, len(own), final.mean, said[0], best.mean, said[1], turned, changed])
    found = ["seeds", "final", "by final", "best", "by best", "turned", "changed"]
    return pd.DataFrame(rows, columns=[*KEYS, *found])


def held_out(results: Results) -> pd.DataFrame:
    """Return the runs with validation images: what choosing an epoch on them adds on the test set.

    Returns
    -------
    DataFrame, a row a run: setting, rate, arm, seed, ``test``, the best test accuracy - the final
    one, and ``validation``, the test accuracy of the epoch that the validation images choose - the
    final one
    """
    columns = ["setting", "rate", "arm", "seed"]
    wanted = ["key", *columns, "test_accuracy", "validation_accuracy"]
    chosen = results.epochs.reindex(columns=wanted).dropna(subset=["validation_accuracy"])
    runs = chosen.groupby("key", sort=False)
    picked = chosen.loc[runs["validation_accuracy"].idxmax()].set_index("key")["test_accuracy"]
    test = runs["test_accuracy"]
    gains = {"test": test.max() - test.last(), "validation": picked - test.last()}
    return runs[columns].first().assign(**gains)


def added(runs: pd.DataFrame, results: Results) -> Figure:
    """Draw best − final of each arm, for the rates that never fall and for the others.

    A small mark is the mean over the seeds of a setting, a large one the mean over settings with
    its 95 % interval.

    Parameters
    ----------
    runs : rows of `noise`, with the arms that are to be drawn
    """
    figure, (ax,) = canvas(3.2)
    grouped(ax, by_setting(runs), "rate", "gain")
    ax.set_ylabel("best − final, points")
    return finish(figure, results)


def by_setting(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the mean ``gain`` and the noise ``own`` of each arm in a setting, over its seeds.

    Parameters
    ----------
    runs : rows of `noise`; the noise is the root of the mean square
    """
    groups = runs.assign(own=runs["own"] ** 2).groupby(["setting", "rate", "arm"])
    means = groups[["own", "gain"]].mean().reset_index()
    return means.assign(own=means["own"] ** 0.5)
