"""Figures about laws of the loss weight: what the mean does, and what chance does."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from rgkit import weights
from rgkit.config import Classification
from rgkit.execute import Results
from rgkit.grid import arm_of
from rgkit.looks import looks, use_style
from rgkit.plots import _stamp, nothing_yet


def by_mean_weight(results: Results) -> Figure:
    """Draw the final accuracy of each arm over its mean weight: dots are seeds, marks their mean.

    A line joins the laws without chance. How far a random law lies from the line is what its
    chance does, because a constant of the same mean would lie on it. An arm with another learning
    rate stands where a constant weight would give it that rate.
    """
    runs = results.runs.dropna(subset=["final"])
    if runs.empty:
        return _stamp(nothing_yet(), results)
    use_style()
    figure, ax = plt.subplots(figsize=(7.6, 4.2))
    means, fixed, plain = {}, {}, Classification()
    for arm, look in looks(runs["arm"].unique()).items():
        config, final = arm_of(arm, plain), runs.loc[runs["arm"] == arm, "final"]
        m1, m2 = weights.law(config.weight).moments()
        means[arm] = mean = m1 * config.lr / plain.lr
        ax.plot([mean] * len(final), final, ".", color=look["color"], ms=5, alpha=0.6)
        ax.plot(mean, final.mean(), ls="none", ms=9, **look, label=arm)
        if m2 <= m1 * m1 * (1 + 1e-9) and config.batch == plain.batch:
            fixed[mean] = final.mean()
    ax.plot(sorted(fixed), [fixed[m] for m in sorted(fixed)], color="#4c4c4c", lw=1, zorder=0)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(sorted(set(means.values()))))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
    ax.set_xlabel("mean of the loss weight")
    ax.set_ylabel("test accuracy, %")
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return _stamp(figure, results)
