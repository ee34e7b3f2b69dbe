"""Figures about laws of the loss weight: what the mean does, and what chance does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rgkit.figures.plots import _panels, _stamp, measured, nothing_yet
from rgkit.figures.style import canvas, log_ticks, looks
from rgkit.method import laws, schedules
from rgkit.runs.grid import arm_of
from rgkit.runs.kinds import Classification, Trained
from rgkit.runs.results import Results


def by_mean_weight(results: Results, panels: str = "momentum") -> Figure:
    """Draw what each arm ends with over its mean weight: dots are seeds, marks their mean.

    A line joins the laws without chance. How far a random law lies from it is what its chance does
    where there is a constant of the same mean; between two constants the line is a chord. An arm
    with another learning rate stands where a constant weight would give it that rate.
    """
    runs = results.runs.dropna(subset=["final"])
    if runs.empty:
        return _stamp(nothing_yet(), results)
    figure, parts = _panels(runs, panels, None, height=4.2)
    epochs = max(r.config.epochs for r in results.records if isinstance(r.config, Trained))
    for ax, frame in parts:
        _draw(ax, frame, epochs)
    parts[0][0].set_ylabel(measured(results)[1])
    parts[-1][0].legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return _stamp(figure, results)


def _draw(ax: Axes, runs: pd.DataFrame, epochs: int) -> None:
    means, fixed, plain = {}, {}, Classification()
    for arm, look in looks(runs["arm"].unique()).items():
        config, final = arm_of(arm, plain), runs.loc[runs["arm"] == arm, "final"]
        law = laws.law(config.weight)
        means[arm] = mean = law.moments(epochs)[0] * config.lr / plain.lr
        ax.plot([mean] * len(final), final, ".", color=look["color"], ms=5, alpha=0.6)
        ax.plot(mean, final.mean(), ls="none", ms=9, **look, label=arm)
        if isinstance(law, laws.Constant) and config.batch == plain.batch:
            fixed[mean] = final.mean()
    ax.plot(sorted(fixed), [fixed[m] for m in sorted(fixed)], color="#4c4c4c", lw=1, zorder=0)
    log_ticks(ax, set(means.values()))
    ax.set_xlabel("mean of the loss weight")


def step_sizes(config: Trained, rate: float) -> np.ndarray:
    """Return the loss weight times the learning rate at every step of a run, in units of `rate`.

    >>> step_sizes(Classification(weight="constant(0.5)", lr=0.1, schedule="constant"), 0.1)[:2]
    array([0.5, 0.5])
    """
    per_epoch, steps = config.steps // config.epochs, np.arange(config.steps)
    length = {"epochs": config.epochs, "seed": config.seed}
    curve = schedules.schedule(config.schedule).factor(steps, steps_per_epoch=per_epoch, **length)
    law = laws.law(config.weight)
    u = law.draw(steps, steps // per_epoch, per_epoch=per_epoch, **length)
    return u * curve * config.lr / rate


def over_the_run(results: Results, names: Mapping[str, str]) -> Figure:
    """Draw what each arm multiplies the step by over its first run, a panel an arm; dashed: mean.

    Parameters
    ----------
    names : the arms that are drawn, each with its title
    """
    figure, axes = canvas(2.6, len(names), max(2.3 * len(names), 7.6), sharey=True)
    every = looks(names.values())
    for ax, (arm, name) in zip(axes, names.items(), strict=True):
        cell = next(cell for cell in results.grid if cell.labels["arm"] == arm)
        assert isinstance(cell.config, Trained)
        sizes = step_sizes(cell.config, cell.labels.get("lr", cell.config.lr))
        color = every[name]["color"]
        ax.plot(np.arange(len(sizes)) / len(sizes), sizes, ".", ms=2.5, color=color)
        ax.axhline(sizes.mean(), color=color, lw=1, ls="--")
        ax.set_title(name, fontsize=10)
        ax.set_xlabel("part of the run")
    axes[0].set_ylim(bottom=-0.05 * axes[0].get_ylim()[1])
    axes[0].set_ylabel("loss weight × learning rate\nin units of the rate asked for")
    return _stamp(figure, results)
