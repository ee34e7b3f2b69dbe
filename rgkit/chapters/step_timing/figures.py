"""What a step of Random Gradient costs: the times of each pair, and the figure of that page."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from rgkit.chapters.lines import grouped
from rgkit.figures.style import canvas, finish
from rgkit.runs.results import Results


def ratios(results: Results) -> pd.DataFrame:
    """Return the ratios of step times pair by pair, a row a pair: model, what, ratio.

    ``what`` is "RG / plain" or, as a check of the clock, "plain again / plain". The denominator is
    the geometric mean of both plain blocks of the pair for RG, the first block for the check.
    """
    frame = results.epochs
    middle = (frame["plain"] * frame["plain_again"]) ** 0.5
    table = frame[["model"]].assign(
        **{"RG / plain": frame["rg"] / middle},
        **{"plain again / plain": frame["plain_again"] / frame["plain"]},
    )
    table = table.melt("model", var_name="what", value_name="ratio", ignore_index=False)
    return table.sort_index(kind="stable", ignore_index=True)


def extra_time(table: pd.DataFrame, results: Results) -> Figure:
    """Draw the time of RG against plain, pair by pair, beside plain against plain.

    Parameters
    ----------
    table : from `ratios`
    """
    figure, (ax,) = canvas(3)
    grouped(ax, table.assign(arm=table["what"], extra=100 * (table["ratio"] - 1)), "model", "extra")
    ax.axhspan(-1, 1, color="#999999", alpha=0.25, lw=0)
    ax.set_ylabel("extra time of a step, %")
    return finish(figure, results)
