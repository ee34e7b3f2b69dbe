"""Figures about laws of the loss weight: what the mean does, and what chance does."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from rgkit import weights
from rgkit.config import Classification, Trained
from rgkit.execute import Results
from rgkit.grid import arm_of
from rgkit.looks import looks
from rgkit.plots import _panels, _stamp, nothing_yet


def by_mean_weight(results: Results, panels: str = "momentum") -> Figure:
    """Draw the final accuracy of each arm over its mean weight: dots are seeds, marks their mean.

    A line joins the laws without chance. How far a random law lies from it is what its chance does
    where there is a constant of the same mean; between two constants the line is a chord. An arm
    with another learning rate stands where a constant weight would give it that rate.
    """
    runs = results.runs.dropna(subset=["final"])
    if runs.empty:
        return _stamp(nothing_yet(), results)
    figure, parts = _panels(runs, panels, None, height=4.2)
    epochs = max(r.config.epochs for r in results.records if isinstance(r.config, Trained))
    for ax, _, frame in parts:
        _draw(ax, frame, epochs)
    parts[0][0].set_ylabel("test accuracy, %")
    parts[-1][0].legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return _stamp(figure, results)


def _draw(ax: Axes, runs: pd.DataFrame, epochs: int) -> None:
    means, fixed, plain = {}, {}, Classification()
    for arm, look in looks(runs["arm"].unique()).items():
        config, final = arm_of(arm, plain), runs.loc[runs["arm"] == arm, "final"]
        law = weights.law(config.weight)
        means[arm] = mean = law.moments(epochs)[0] * config.lr / plain.lr
        ax.plot([mean] * len(final), final, ".", color=look["color"], ms=5, alpha=0.6)
        ax.plot(mean, final.mean(), ls="none", ms=9, **look, label=arm)
        if isinstance(law, weights.Constant) and config.batch == plain.batch:
            fixed[mean] = final.mean()
    ax.plot(sorted(fixed), [fixed[m] for m in sorted(fixed)], color="#4c4c4c", lw=1, zorder=0)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(sorted(set(means.values()))))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
    ax.set_xlabel("mean of the loss weight")
