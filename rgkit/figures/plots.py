"""The book's figures: one function each."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rgkit.figures.style import COLORS, MARKERS, canvas, looks, use_style
from rgkit.runs.kinds import Trained
from rgkit.runs.results import Results

Panel = tuple[Axes, pd.DataFrame]


def _panels(
    frame: pd.DataFrame, panels: str | list[str], rows: str | None, height: float
) -> tuple[Figure, list[Panel]]:
    """Lay out a panel for each value of an axis (or of several), and a row for each of another."""
    use_style()
    if not isinstance(panels, str):
        values = frame[panels].itertuples(index=False)
        titles = [", ".join(map(_title, panels, row)) for row in values]
        frame, panels = frame.assign(panel=titles), "panel"
    across, down = _each(frame, panels), _each(frame, rows) if rows else [None]
    size = (max(2.6 * len(across), 7.6), height * len(down))
    figure, axes = plt.subplots(
        len(down), len(across), figsize=size, sharex=True, sharey="row", squeeze=False
    )
    found = []
    for line, upper in zip(axes, down, strict=True):
        for ax, value in zip(line, across, strict=True):
            part = frame[frame[panels] == value]
            title = _title(panels, value)
            if rows:
                part = part[part[rows] == upper]
                title = f"{title}, {_title(rows, upper)}"
            ax.set_title(title, fontsize=10)
            found.append((ax, part))
    return figure, found


def _stamp(figure: Figure, results: Results) -> Figure:
    """Mark a figure that is no result as such."""
    if results.grid.profile == "smoke":
        figure.text(0.5, 0.5, "smoke test: no result", rotation=25, fontsize=26, alpha=0.35,
                    ha="center", va="center", color="#b00000")  # fmt: skip
    return figure


def _arms(frame: pd.DataFrame) -> list[str]:
    present = list(frame["arm"].unique())
    return [arm for arm in COLORS if arm in present] + [a for a in present if a not in COLORS]


def _title(axis: str, value: object) -> str:
    words = {"discarded": "never decayed", "triangular": "up once and down again"}
    if axis in ("panel", "protocol", "model", "schedule"):
        return words.get(str(value), str(value))
    return f"{axis} {value:.3g}" if isinstance(value, float) else f"{axis} {value}"


def _each(frame: pd.DataFrame, axis: str) -> list[object]:
    return list(dict.fromkeys(frame[axis]))


def _label_edges(panels: list[Panel], x: str, y: str) -> None:
    """Name the axes at the outer panels only."""
    for ax, _ in panels:
        ax.set(xlabel=x, ylabel=y)
        ax.label_outer()


def measured(results: Results) -> tuple[str, str]:
    """Return the metric by which runs of this task are judged, and its words for an axis."""
    first = results.grid.cells[0].config if results.grid.cells else None
    name = first.measure if isinstance(first, Trained) else Trained.measure
    words = {"test_accuracy": "test accuracy, %", "test_miou": "mean IoU, %"}
    words |= {"test_ssim": "SSIM, %", "test_map_11": "mean average precision, %"}
    return name, words[name]


def draw_mean(ax: Axes, runs: pd.DataFrame, value: str, look: dict[str, Any], label: str) -> None:
    """Draw the mean of some runs over the epochs, with a dozen marks at most."""
    mean = runs.groupby("epoch")[value].mean()
    ax.plot(mean.index, mean, **look, ms=4, markevery=-(-len(mean) // 12), label=label)


def draw_curves(ax: Axes, frame: pd.DataFrame, value: str = "test_accuracy") -> None:
    """Draw the seeds of each arm as thin lines over the epochs and their mean as a thick one."""
    for arm, look in looks(_arms(frame)).items():
        runs = frame[frame["arm"] == arm]
        for _, run in runs.groupby("key"):
            ax.plot(run["epoch"], run[value], color=look["color"], lw=0.7, alpha=0.4)
        draw_mean(ax, runs, value, look | {"lw": 2.2}, arm)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def accuracy_curves(results: Results, panels: str | list[str], rows: str | None = None) -> Figure:
    """Draw what runs are judged by against epochs, a panel per value of an axis or of several.

    Thin lines are single seeds, thick ones the mean over seeds; nothing is smoothed.
    """
    if results.epochs.empty:
        return _stamp(nothing_yet(), results)
    figure, parts = _panels(results.epochs, panels, rows, height=3.0)
    value, words = measured(results)
    for ax, frame in parts:
        draw_curves(ax, frame, value)
    _label_edges(parts, "epoch", words)
    parts[-1][0].legend(loc="lower right", fontsize=8)
    return _stamp(figure, results)


def final_accuracy(results: Results, panels: str | list[str], rows: str | None = None) -> Figure:
    """Draw each run's accuracy after the final epoch (filled) and at its best one (hollow)."""
    if results.runs["final"].isna().all():
        return _stamp(nothing_yet(), results)
    figure, parts = _panels(results.runs, panels, rows, height=2.7)
    arms = _arms(results.runs)
    for ax, frame in parts:
        for place, (arm, look) in enumerate(looks(arms).items()):
            runs = frame[frame["arm"] == arm]
            spread = place + np.linspace(-0.15, 0.15, len(runs)) if len(runs) > 1 else [place]
            ax.plot(spread, runs["final"], **look, ls="none", ms=6)
            ax.plot(spread, runs["best"], **look, ls="none", ms=6, fillstyle="none", alpha=0.7)
            ax.hlines(runs["final"].mean(), place - 0.3, place + 0.3, color=look["color"], lw=2)
        short = [arm.replace(", ", ",\n").replace("constant ", "constant\n") for arm in arms]
        ax.set_xticks(range(len(arms)), short, fontsize=8)
        ax.set_xlim(-0.6, len(arms) - 0.4)
    _label_edges(parts, "", measured(results)[1])
    return _stamp(figure, results)


def nothing_yet() -> Figure:
    """Return the figure that stands where nothing is measured."""
    figure, (ax,) = canvas(1, width=7)
    ax.text(0.5, 0.5, "not measured yet", ha="center", va="center")
    ax.set_axis_off()
    return figure


def _compared(name: str) -> str:
    """Return the arm on the right of "a − b" or "a − b, part", if it is one of the named ones."""
    right = name.split(" − ")[1]
    return max((arm for arm in COLORS if right.startswith(arm)), key=len, default="")


def differences(
    table: pd.DataFrame, results: Results, delta: float, unit: str = "points", what: str = ""
) -> Figure:
    """Draw paired differences with 95 % intervals, a row a cell, beside the band of ±delta.

    Parameters
    ----------
    table : rows of `rgkit.paired` under (difference, cell), as `rgkit.against` returns them
    what : what differs, where it is not what runs are judged by
    """
    if table.empty:
        return _stamp(nothing_yet(), results)
    places: list[Any] = list(table.index)
    rows = [(str(name), str(cell), table.loc[(name, cell)]) for name, cell in places]
    figure, (ax,) = canvas(0.36 * len(rows) + 1.1, width=7)
    ax.axvspan(-delta, delta, color="#999999", alpha=0.25, lw=0, label=f"±Δ = {delta} {unit}")
    ax.axvline(0, color="black", lw=0.8)
    # "RG − plain, poly" is drawn in the colour of what it is compared with.
    arms = {name: _compared(name) for name, _, _ in rows}
    for place, (name, cell, row) in enumerate(rows):
        color, whole = COLORS.get(arms[name], "#7f3c8d"), cell == "all"
        ax.plot([row["low"], row["high"]], [place] * 2, color=color, lw=3.5 if whole else 1.8)
        ax.plot(row["difference"], place, color=color, ms=8 if whole else 6,
                marker=MARKERS.get(arms[name], "P"))  # fmt: skip
    names = [name for name, _, _ in rows]
    # A difference with one row has nothing to be told apart by.
    labels = [f"{name}: {cell}" if names.count(name) > 1 else name for name, cell, _ in rows]
    ax.set_yticks(range(len(rows)), [n.replace("discarded", "never decayed") for n in labels])
    ax.invert_yaxis()
    # A cell of few, noisy seeds may have an interval far wider than everything else.
    edge = max(1.0, 1.6 * max(abs(row["difference"]) for _, _, row in rows), 4 * delta)
    low = min(-2 * delta, *(max(row["low"], -edge) for _, _, row in rows))
    high = max(2 * delta, *(min(row["high"], edge) for _, _, row in rows))
    ax.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    what = what or measured(results)[1].removesuffix(", %")
    ax.set_xlabel(f"difference of final {what}, {unit}")
    ax.legend(loc="best", fontsize=8)
    ax.grid(axis="y", visible=False)
    return _stamp(figure, results)


def weight_norms(results: Results, panels: str, rows: str | None = None) -> Figure:
    """Draw the norm of the weights over the epochs, which sets the effective learning rate."""
    figure, parts = _panels(results.epochs, panels, rows, height=2.5)
    for ax, frame in parts:
        for arm, look in looks(_arms(frame)).items():
            draw_mean(ax, frame[frame["arm"] == arm], "weight_norm", look, arm)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    _label_edges(parts, "epoch", "norm of the weights")
    parts[0][0].legend(fontsize=8)
    return _stamp(figure, results)


def step_ratios(table: pd.DataFrame, results: Results) -> Figure:
    """Draw the time of RG against plain, pair by pair, beside plain against plain."""
    models = _each(table, "model")
    figure, axes = canvas(3, len(models), max(3.4 * len(models), 5))
    for ax, model in zip(axes, models, strict=True):
        frame = table[table["model"] == model]
        for place, (what, color) in enumerate(
            {"plain again / plain": COLORS["plain"], "RG / plain": COLORS["RG"]}.items()
        ):
            values = 100 * (frame.loc[frame["what"] == what, "ratio"] - 1)
            jitter = place + np.linspace(-0.2, 0.2, len(values))
            ax.plot(jitter, values, ".", color=color, alpha=0.6)
            ax.hlines(values.mean(), place - 0.3, place + 0.3, color=color, lw=2.5)
        ax.axhspan(-1, 1, color="#999999", alpha=0.25, lw=0)
        ax.set_xticks([0, 1], ["plain again\n/ plain", "RG\n/ plain"])
        ax.set(xlim=(-0.6, 1.6), title=str(model))
    axes[0].set_ylabel("extra time of a step, %")
    return _stamp(figure, results)
