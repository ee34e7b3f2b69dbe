"""Figures about the learning rate: each arm over its range, at its own best, and effective."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rgkit.figures.plots import (
    _arms,
    _each,
    _label_edges,
    _panels,
    _stamp,
    _title,
    draw_curves,
    measured,
    nothing_yet,
)
from rgkit.figures.style import canvas, log_ticks, looks
from rgkit.runs.results import Results
from rgkit.stats.differences import difference
from rgkit.stats.tuning import chosen, scores


def sensitivity(tuning: Results, panels: str, value: str = "score", last: int = 0) -> Figure:
    """Draw the accuracy of each arm over its learning rates, a panel per value; dots are seeds.

    The dotted line is plain training moved to twice its rate: where RG lies if it only halves it.

    Parameters
    ----------
    value : "score", the validation accuracy of the last epochs by which a rate is chosen (the
        choice has a ring), or "final", the test accuracy at the end
    last : how many epochs that are, see `rgkit.chosen`
    """
    if value == "score":
        table, best = scores(tuning, last), chosen(tuning, last=last).reset_index()
    else:
        table, best = tuning.runs, pd.DataFrame(columns=["arm", panels])
    table = table.dropna(subset=[value])
    if table.empty:
        return _stamp(nothing_yet(), tuning)
    figure, parts = _panels(table, panels, None, height=3.4)
    for ax, frame in parts:
        for arm, look in looks(_arms(frame)).items():
            mine = frame[frame["arm"] == arm]
            mean = mine.groupby("lr")[value].mean()
            ax.plot(mean.index, mean, lw=1.8, ms=5, label=arm, **look)
            if len(mine) > len(mean):
                ax.plot(mine["lr"], mine[value], ".", color=look["color"], ms=4, alpha=0.5)
            if arm == "plain":
                ax.plot(
                    2 * mean.index, mean, ":", color=look["color"], lw=1.2, label="plain at half"
                )
            where = best[(best["arm"] == arm) & (best[panels] == mine[panels].iloc[0])]
            if len(where):
                ax.plot(where["lr"], where["validation"], "o", ms=13, mfc="none", mec=look["color"])
        log_ticks(ax, table["lr"].unique())  # the panels share their axis, not their rates
        ax.set_xlim(table["lr"].min() / 1.4, table["lr"].max() * 1.4)
    what = measured(tuning)[1]
    what = f"validation {what.removeprefix('test ')}" if value == "score" else what
    _label_edges(parts, "highest learning rate of the run", what)
    labels = {
        label: line
        for ax, _ in parts
        for line, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(labels.values(), labels, loc="outside lower center", ncols=4, fontsize=8)
    return _stamp(figure, tuning)


def answer(fixed: Results, tuned: Results, panels: str = "schedule") -> Figure:
    """Draw the chapter in one picture: the curves of each schedule, and each arm at its own best.

    The last panel has the final accuracy of every run at the arm's own learning rate, with the
    mean and its 95 % interval, grouped by schedule, on a scale of its own; it is empty while no
    rate is chosen.
    """
    values = _each(fixed.epochs, panels)
    figure, (*curves, last) = canvas(3.5, len(values) + 1, 3.4 * (len(values) + 1))
    for ax, value in zip(curves, values, strict=True):
        ax.sharey(curves[0])
        ax.label_outer(remove_inner_ticks=True)
        draw_curves(ax, fixed.epochs[fixed.epochs[panels] == value])
        ax.set_title(f"same rate, {_title(panels, value)}", fontsize=10)
        ax.set_xlabel("epoch")
    curves[0].set_ylabel("test accuracy, %")
    curves[0].legend(loc="lower right", fontsize=8)
    finals = fixed.runs["final"].dropna()
    # The first epochs are far below: what is to be compared would be squeezed into a corner.
    room = finals.max() - finals.min()
    curves[0].set_ylim(finals.min() - 1.2 * room - 1, finals.max() + 0.15 * room + 0.5)
    last.set_title("each at its own best rate", fontsize=10)
    runs = tuned.runs.dropna(subset=["final"]) if len(tuned.runs) else pd.DataFrame()
    _own_best(last, runs, panels, values)
    return _stamp(figure, fixed)


def _own_best(ax: Axes, runs: pd.DataFrame, panels: str, values: list[object]) -> None:
    arms = _arms(runs) if len(runs) else []
    values = [v for v in values if len(runs) and (runs[panels] == v).any()]
    if not values:
        ax.text(0.5, 0.5, "not measured yet", ha="center", transform=ax.transAxes)
    width = len(arms) + 1
    for group, value in enumerate(values):
        for place, (arm, look) in enumerate(looks(arms).items()):
            mine = runs[(runs["arm"] == arm) & (runs[panels] == value)]
            if mine.empty:
                continue
            at, mean = group * width + place, mine["final"].mean()
            spread = at + np.linspace(-0.2, 0.2, len(mine))
            ax.plot(spread, mine["final"], **look, ls="none", ms=4, alpha=0.6)
            if len(mine) > 1:
                low, high = difference(mine["final"].to_numpy()).interval()
                ax.plot([at, at], [low, high], color=look["color"], lw=1.4)
            ax.hlines(mean, at - 0.4, at + 0.4, color=look["color"], lw=2.2)
            rate = ", ".join(f"{lr:g}" for lr in sorted(mine["lr"].unique()))
            ax.annotate(f"rate\n{rate}", (at, 0.03), xycoords=("data", "axes fraction"),
                        ha="center", fontsize=8, color=look["color"])  # fmt: skip
    centres = [group * width + (len(arms) - 1) / 2 for group in range(len(values))]
    ax.set_xticks(centres, [_title(panels, value) for value in values])
    ax.set_xlim(-1, max(1, len(values) * width - 1))
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.35 * (high - low), high)  # room for the rates
    ax.grid(axis="x", visible=False)
