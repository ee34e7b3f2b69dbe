"""Figures about reporting the best epoch: what it adds, what theory expects, what it changes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rgkit.chapters.selection import expected_best
from rgkit.figures.plots import _arms, _stamp, nothing_yet
from rgkit.figures.style import COLORS, canvas, looks
from rgkit.stats.differences import difference
from rgkit.train.execute import Results

RATES = ("never decayed", "decayed")
OTHER = {"color": "#a5aa99", "marker": "."}


def added(runs: pd.DataFrame, results: Results) -> Figure:
    """Draw best − final of each arm, a panel for the rates that never fall and one for the others.

    A mark is the mean over the seeds of a setting; a thin line joins the arms of one setting, the
    thick bar is the mean over settings with its 95 % interval.

    Parameters
    ----------
    runs : rows of `rgkit.chapters.selection.noise`, with the arms that are to be drawn
    """
    runs = runs.dropna(subset=["gain"])
    if runs.empty:
        return _stamp(nothing_yet(), results)
    figure, axes = canvas(3.2, len(RATES), sharey=True)
    arms = _arms(runs)
    for ax, rate in zip(axes, RATES, strict=True):
        own = runs[runs["rate"] == rate]
        means = own.pivot_table("gain", "setting", "arm").reindex(columns=arms)
        for _, row in means.iterrows():
            ax.plot(range(len(arms)), row, color="#999999", lw=0.6, alpha=0.6)
        for place, (arm, look) in enumerate(looks(arms).items()):
            known = means[arm].dropna()
            if known.empty:
                continue
            ax.plot([place] * len(known), known, **look, ls="none", ms=5, alpha=0.7)
            d = difference(known.to_numpy())
            low, high = d.interval() if d.pairs > 1 else (d.mean, d.mean)
            ax.plot([place + 0.22] * 2, [low, high], color=look["color"], lw=3)
            ax.plot(place + 0.22, d.mean, **look, ms=8, mec="white")
        ax.set_xticks(range(len(arms)), [arm.replace(" ", "\n") for arm in arms])
        ax.set_xlim(-0.4, len(arms) - 0.4)
        ax.set_title(f"{rate}: {len(means)} settings", fontsize=10)
    axes[0].set_ylabel("best − final, points")
    return _stamp(figure, results)


def against_noise(runs: pd.DataFrame, results: Results) -> Figure:
    """Draw best − final over the noise of one late epoch: a mark is an arm in a setting.

    Filled where the rate never falls, hollow where it does. A line is what the best of that many
    independent epochs without a trend would add.
    """
    runs = runs.dropna(subset=["gain", "own"])
    if runs.empty:
        return _stamp(nothing_yet(), results)
    figure, (ax,) = canvas(3.8)
    groups = runs.groupby(["setting", "rate", "arm"])
    means = groups.agg(gain=("gain", "mean"), count=("late_epochs", "first"))
    means["own"] = groups["own"].agg(lambda sigma: float(np.sqrt((sigma**2).mean())))
    means = means.reset_index()
    for arm in _arms(means):
        look = looks([arm])[arm] if arm in COLORS else OTHER
        for rate, fill in zip(RATES, ("full", "none"), strict=True):
            own = means[(means["arm"] == arm) & (means["rate"] == rate)]
            ax.plot(own["own"], own["gain"], ls="none", ms=7, fillstyle=fill, **look)
        if arm in COLORS:
            ax.plot([], [], ls="none", ms=7, label=arm, **look)
    edge = float(means["own"].max())
    for count, line in zip(sorted(means["count"].unique()), ("-", "--", ":", "-."), strict=False):
        slope = expected_best(1.0, int(count))
        label = f"best of {int(count)} independent epochs"
        ax.plot([0, edge], [0, slope * edge], color="black", lw=1, ls=line, label=label)
    ax.set_ylim(-0.3, 1.25 * float(means["gain"].max()) + 0.5)
    ax.set(xlabel="noise of one late epoch, points", ylabel="best − final, points")
    ax.legend(fontsize=8)
    return _stamp(figure, results)


def by_both(table: pd.DataFrame, results: Results, delta: float) -> Figure:
    """Draw each comparison by the best epoch over the same by the final one.

    On the diagonal the choice of the epoch changes nothing; in the shaded quarters it turns the
    sign. A ring marks a comparison whose verdict is another one.

    Parameters
    ----------
    table : rows of `rgkit.chapters.selection.verdicts`
    delta : half the width of the band in which a difference is too small to matter
    """
    if table.empty:
        return _stamp(nothing_yet(), results)
    figure, (ax,) = canvas(4.2)
    edge = 1.08 * max(float(table[["final", "best"]].abs().max().max()), 4 * delta)
    ax.fill_between([-edge, 0], 0, edge, color="#b00000", alpha=0.07, lw=0)
    ax.fill_between([0, edge], -edge, 0, color="#b00000", alpha=0.07, lw=0)
    ax.axvspan(-delta, delta, color="#999999", alpha=0.25, lw=0)
    ax.axhspan(-delta, delta, color="#999999", alpha=0.25, lw=0, label=f"±Δ = {delta} points")
    ax.plot([-edge, edge], [-edge, edge], color="black", lw=0.8)
    colors = (COLORS["RG"], COLORS["constant 1/2"])
    for rate, color, marker in zip(RATES, colors, "os", strict=True):
        own = table[table["rate"] == rate]
        ax.plot(own["final"], own["best"], marker, color=color, ms=5, alpha=0.7, label=rate)
    changed = table[table["changed"]]
    ax.plot(changed["final"], changed["best"], "o", ms=12, mfc="none", mec="black",
            label="another verdict")  # fmt: skip
    sides = table[["final", "best"]].to_numpy()
    shown = (max(sides.min() - 1, -edge), min(max(sides.max(), 4 * delta) + 1, edge))
    ax.set(xlim=shown, ylim=shown, ylabel="by the best epoch, points")
    ax.set_xlabel("difference of two arms by the final epoch, points")
    ax.legend(fontsize=8)
    return _stamp(figure, results)
