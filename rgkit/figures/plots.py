"""The figures that several chapters share: curves, final values, rates, differences."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rgkit.figures.style import (
    LOOKS,
    OTHER,
    WORDS,
    Look,
    canvas,
    finish,
    log_ticks,
    looks,
    nothing_yet,
    small_multiples,
)
from rgkit.runs.config import Trained
from rgkit.runs.results import Results

MEASURES = {
    "test_accuracy": "test accuracy, %",
    "test_miou": "mean IoU, %",
    "test_ssim": "SSIM, %",
    "test_map_11": "mean average precision, %",
    "weight_norm": "norm of the weights",
}


def measured(results: Results) -> tuple[str, str]:
    """Return the metric by which runs of this task are judged, and its words for an axis."""
    first = results.grid.cells[0].config if results.grid.cells else None
    name = first.measure if isinstance(first, Trained) else Trained.measure
    return name, MEASURES.get(name, name)


def draw_curves(ax: Axes, frame: pd.DataFrame, value: str, styles: Mapping[str, Look]) -> None:
    """Draw the seeds of each arm as thin lines over the epochs and their mean as a thick one."""
    for arm, runs in frame.groupby("arm", sort=False):
        look = styles[str(arm)]
        for _, run in runs.groupby("key"):
            ax.plot(run["epoch"], run[value], color=look.color, lw=0.7, alpha=0.4)
        mean = runs.groupby("epoch")[value].mean()
        every = -(-len(mean) // 12)  # a dozen marks at most
        ax.plot(mean.index, mean, **look.marked_line, lw=2.2, ms=4, markevery=every, label=arm)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def curves(
    results: Results, panels: str | list[str], rows: str | None = None, value: str = ""
) -> Figure:
    """Draw a metric against epochs, a panel for each value of an axis or of several.

    Thin lines are single seeds, thick ones the mean over seeds; nothing is smoothed.

    Parameters
    ----------
    panels, rows : axes of the grid, see `rgkit.figures.style.small_multiples`
    value : one of `MEASURES`; without it, what runs are judged by
    """
    epochs, value = results.epochs, value or measured(results)[0]
    if epochs.empty:
        return nothing_yet(results)
    figure, parts = small_multiples(
        epochs, panels, rows, height=2.8, x="epoch", y=MEASURES.get(value, value)
    )
    for ax, frame in parts:
        draw_curves(ax, frame, value, looks(epochs["arm"]))
    return finish(figure, results)


def metrics(results: Results, names: Mapping[str, str], **options: Any) -> Figure:
    """Draw several metrics over the epochs as `curves` does, three panels a row.

    Parameters
    ----------
    names : column of ``results.epochs`` -> title of its panel
    options : see `rgkit.figures.style.canvas`
    """
    if results.epochs.empty:
        return nothing_yet(results)
    across = min(3, len(names))
    down = -(-len(names) // across)
    figure, axes = canvas(2.4, across, max(3.0 * across, 7.6), down, sharex=True, **options)
    for ax, (value, title) in zip(axes, names.items(), strict=True):
        draw_curves(ax, results.epochs, value, looks(results.epochs["arm"]))
        ax.ticklabel_format(useOffset=False)
        ax.set(title=title)
    for ax in axes[-across:]:
        ax.set_xlabel("epoch")
    return finish(figure, results)


def final_accuracy(results: Results, panels: str) -> Figure:
    """Draw each run's accuracy after the final epoch (filled) and at its best one (hollow)."""
    runs, styles = results.runs, looks(results.runs["arm"])
    if runs["final"].isna().all():
        return nothing_yet(results)
    figure, parts = small_multiples(runs, panels, height=2.7, x="", y=measured(results)[1])
    for ax, frame in parts:
        for place, (arm, look) in enumerate(styles.items()):
            own = frame[frame["arm"] == arm]
            side_by_side = place + np.linspace(-0.3, 0.3, len(own) + 2)[1:-1]
            ax.plot(side_by_side, own["final"], **look.mark, ms=6)
            ax.plot(side_by_side, own["best"], **look.mark, ms=6, fillstyle="none", alpha=0.7)
            ax.hlines(own["final"].mean(), place - 0.3, place + 0.3, color=look.color, lw=2.2)
        ax.set_xticks(range(len(styles)), [fill(arm, 12) for arm in styles], fontsize=8)
        ax.set_xlim(-0.6, len(styles) - 0.4)
        ax.grid(axis="x", visible=False)
    return finish(figure, results)


def differences(table: pd.DataFrame, results: Results, delta: float, what: str = "") -> Figure:
    """Draw paired differences with 95 % intervals, a row a cell, beside the band of ±delta.

    Parameters
    ----------
    table : rows under (difference, cell), as `rgkit.contrasts` returns them
    what : what differs, where it is not what runs are judged by
    """
    if table.empty:
        return nothing_yet(results)
    figure, (ax,) = canvas(0.34 * len(table) + 0.6, width=7)
    names, labels = table.index.get_level_values(0), []
    for place, (index, row) in enumerate(table.iterrows()):
        name, cell = map(str, index)  # type: ignore[call-overload]
        # "RG − plain, poly" is drawn as what it is compared with, if that has a look of its own.
        right = cell if cell in LOOKS else name.split(" − ")[-1]
        arm = max((arm for arm in LOOKS if right.startswith(arm)), key=len, default="")
        look = LOOKS.get(arm, OTHER)
        width, size = (3.5, 9) if cell == "all" else (1.8, 6)  # bold over others
        ax.plot([row["low"], row["high"]], [place] * 2, color=look.color, lw=width)
        ax.plot([row["difference"]], [place], **look.mark, ms=size)
        # A difference with one row has nothing to be told apart by.
        label = f"{name}: {cell}" if (names == name).sum() > 1 else name
        labels.append(label.replace("discarded", WORDS["discarded"]))
    ax.axvspan(-delta, delta, color="#999999", alpha=0.25, lw=0, label=f"±Δ = {delta} points")
    ax.axvline(0, color="black", lw=0.8)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    # A cell of few, noisy seeds may have an interval far wider than everything else.
    edge = max(1.0, 1.6 * table["difference"].abs().max(), 4 * delta)
    low = min(-2 * delta, table["low"].clip(lower=-edge).min())
    high = max(2 * delta, table["high"].clip(upper=edge).max())
    ax.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    what = what or measured(results)[1].removesuffix(", %")
    ax.set_xlabel(f"difference of final {what}, points")
    return finish(figure, results)


def sensitivity(
    results: Results, panels: str, scored: pd.DataFrame | None = None,
    best: pd.DataFrame | None = None,
) -> Figure:  # fmt: skip
    """Draw the accuracy of each arm over its learning rates, a panel per value; dots are seeds.

    The dotted line is plain training moved to twice its rate: where RG lies if it only halves it.

    Parameters
    ----------
    scored : of a search, see `rgkit.stats.tuning.scores`: the validation accuracy by which a rate
        is chosen is drawn, in the place of the test accuracy at the end
    best : the choice, which gets a ring, see `rgkit.chosen`
    """
    table, value, words = results.runs, "final", measured(results)[1]
    if scored is not None:
        table, value, words = scored, "score", f"validation {words.removeprefix('test ')}"
    table = table.dropna(subset=[value])
    if table.empty:
        return nothing_yet(results)
    choice = pd.DataFrame() if best is None else best.reset_index()
    axes = {"x": "highest learning rate of the run", "y": words}
    figure, parts = small_multiples(table, panels, height=3, **axes)
    for ax, frame in parts:
        for arm, look in looks(table["arm"]).items():
            own = frame[frame["arm"] == arm]
            mean = own.groupby("lr")[value].mean()
            ax.plot(mean.index, mean, **look.marked_line, lw=1.8, ms=5, label=arm)
            if len(own) > len(mean):
                ax.plot(own["lr"], own[value], ".", color=look.color, ms=4, alpha=0.5)
            if arm == "plain":
                ax.plot(2 * mean.index, mean, ":", color=look.color, label="plain at half")
            if len(choice) and len(own):
                ring = choice[(choice["arm"] == arm) & (choice[panels] == own[panels].iloc[0])]
                ax.plot(ring["lr"], ring["validation"], "o", ms=13, mfc="none", mec=look.color)
        log_ticks(ax, table["lr"].unique())  # the panels share their axis, not their rates
        ax.set_xlim(table["lr"].min() / 1.4, table["lr"].max() * 1.4)
    return finish(figure, results)
