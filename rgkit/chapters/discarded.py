"""The chapter on the discarded scheduler in one picture."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rgkit.figures.plots import beside, draw_curves, interval
from rgkit.figures.style import canvas, finish, looks, title
from rgkit.runs.results import Results
from rgkit.stats.differences import difference


def answer(fixed: Results, tuned: Results) -> Figure:
    """Draw the curves of each schedule at one rate, and each arm at its own best rate.

    The last panel has the final accuracy of every run at the arm's own learning rate, with the
    mean and its 95 % interval, grouped by schedule, on a scale of its own; it is empty while no
    rate is chosen.
    """
    schedules = list(fixed.epochs["schedule"].unique())
    figure, (*curves, last) = canvas(3.2, len(schedules) + 1, 3.4 * (len(schedules) + 1))
    for ax, schedule in zip(curves, schedules, strict=True):
        ax.sharey(curves[0])
        own = fixed.epochs[fixed.epochs["schedule"] == schedule]
        draw_curves(ax, own, "test_accuracy", looks(fixed.epochs["arm"]))
        words = f"same rate, {title('schedule', schedule)}"
        ax.set(title=words, xlabel="epoch", ylabel="test accuracy, %")
        ax.label_outer(remove_inner_ticks=True)
    finals = fixed.runs["final"].dropna()
    # The first epochs are far below: what is to be compared would be squeezed into a corner.
    room = finals.max() - finals.min()
    curves[0].set_ylim(finals.min() - 1.2 * room - 1, finals.max() + 0.15 * room + 0.5)
    last.set_title("each at its own best rate")
    _own_best(last, tuned.runs.dropna(subset=["final"]), schedules)
    return finish(figure, fixed)


def _own_best(ax: Axes, runs: pd.DataFrame, schedules: list[str]) -> None:
    if runs.empty:
        ax.text(0.5, 0.5, "not measured yet", ha="center", transform=ax.transAxes)
        return
    schedules = [one for one in schedules if (runs["schedule"] == one).any()]
    styles = looks(runs["arm"])
    width = len(styles) + 1  # of the place of a schedule
    for n, schedule in enumerate(schedules):
        for place, (arm, look) in enumerate(styles.items(), n * width):
            own = runs[(runs["arm"] == arm) & (runs["schedule"] == schedule)]
            if len(own):
                ax.plot(beside(place, len(own)), own["final"], **look.mark, ms=4, alpha=0.6)
                d = difference(own["final"].to_numpy())
                interval(ax, place, d.mean, d.interval(), look, upright=True)
                rate = ", ".join(f"{lr:g}" for lr in sorted(own["lr"].unique()))
                ax.annotate(f"rate\n{rate}", (place, 0.03), xycoords=("data", "axes fraction"),
                            ha="center", fontsize=8, color=look.color)  # fmt: skip
    centres = np.arange(len(schedules)) * width + len(styles) / 2 - 0.5
    ax.set_xticks(centres, [title("schedule", one) for one in schedules])
    ax.set_xlim(-1, max(1, len(schedules) * width - 1))
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.35 * (high - low), high)  # room for the rates
    ax.grid(axis="x", visible=False)
